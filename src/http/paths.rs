//! Which request is a probe.

/// The paths of a face, in the order of their registration.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    paths: Vec<ProbePath>,
}

/// A probe's path and its first eight bytes as a number: one comparison of numbers
/// refuses nearly every foreign path that comes as far as the table.
#[derive(Clone, Debug)]
struct ProbePath {
    path: Box<str>,
    word: u64,
    mask: u64,
}

impl ProbePath {
    /// Whether a target that starts with `word` may be this path, or below it.
    fn begins(&self, word: u64) -> bool {
        (word ^ self.word) & self.mask == 0
    }

    /// What follows this path in `target`, which starts with `word`.
    #[inline]
    fn rest<'t>(&self, word: u64, target: &'t str) -> Option<&'t [u8]> {
        if !self.begins(word) {
            return None;
        }
        let target = target.as_bytes();
        if self.path.len() <= size_of_val(&word) {
            // The word was all of it.
            target.get(self.path.len()..)
        } else {
            target.strip_prefix(self.path.as_bytes())
        }
    }
}

/// Says of most paths that they are no probe's, without looking at the table.
///
/// A bit for each letter that follows the first slash of a probe's path, and one
/// for the letter after it. Both are a prefix of the path for one dependency, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    second: u64,
    third: u64,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The number of the probe's path.
    pub(super) index: usize,
    /// Whether the name of a dependency follows, as the last segment.
    pub(super) is_below: bool,
}

impl Match {
    fn exact(index: usize) -> Self {
        Self {
            index,
            is_below: false,
        }
    }

    /// The name in `path`, still percent-encoded.
    pub(super) fn name(self, path: &str) -> Option<&str> {
        let (_, name) = path.rsplit_once('/').filter(|_| self.is_below)?;
        Some(name)
    }
}

impl Filter {
    #[inline]
    pub(super) fn passes(self, path: &str) -> bool {
        match *path.as_bytes() {
            [_, second, third, ..] => {
                (self.second >> (second & 63)) & (self.third >> (third & 63)) & 1 != 0
            }
            // Too short to tell.
            _ => true,
        }
    }

    fn of(paths: &[ProbePath]) -> Self {
        let mut filter = Self::default();
        for ProbePath { path, .. } in paths {
            // The root, or one letter: what follows may be anything.
            let bits = |at: usize| match path.as_bytes().get(at) {
                Some(byte) => 1 << (byte & 63),
                None => u64::MAX,
            };
            filter.second |= bits(1);
            filter.third |= bits(2);
        }
        filter
    }
}

impl Paths {
    /// Adds `path`; its number is the count of those before it.
    pub(super) fn add(&mut self, path: &str) -> Result<(), &'static str> {
        validate(path)?;
        if self.paths.iter().any(|other| &*other.path == path) {
            return Err("is a probe's path already");
        }
        self.paths.push(ProbePath {
            path: path.into(),
            word: word(path.as_bytes()),
            mask: word(&[0xff; 8][..path.len().min(8)]),
        });
        Ok(())
    }

    pub(super) fn filter(&self) -> Filter {
        Filter::of(&self.paths)
    }

    /// Where `target` leads: a path that is a probe's, byte for byte, or a name below
    /// one, with a query if there is one.
    // A string and no `Uri`: where the request's own address is taken, it is copied first.
    #[inline(never)]
    pub(super) fn find(&self, target: &str) -> Option<Match> {
        let word = word(target.as_bytes());
        let first = self.paths.iter().position(|probe| probe.begins(word))?;
        match self.paths[first].rest(word, target) {
            Some([] | [b'?', ..]) => Some(Match::exact(first)),
            _ => self.find_from(first, word, target),
        }
    }

    // Apart: neither a foreign path nor most probes come as far.
    #[inline(never)]
    fn find_from(&self, first: usize, word: u64, target: &str) -> Option<Match> {
        let mut below = None;
        for (index, probe) in self.paths.iter().enumerate().skip(first) {
            match probe.rest(word, target) {
                Some([] | [b'?', ..]) => return Some(Match::exact(index)),
                // An exact match further on wins: with /health and /health/detail,
                // /health/detail is the latter's. A name has no slash, so only one path
                // can be its parent.
                Some([b'/', rest @ ..]) if starts_with_a_name(rest) => {
                    below = Some(Match {
                        index,
                        is_below: true,
                    });
                }
                _ => {}
            }
        }
        below
    }
}

/// Whether a segment without a slash fills `rest` up to the query.
fn starts_with_a_name(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| *byte == b'?');
    let name = &rest[..end.unwrap_or(rest.len())];
    !name.is_empty() && !name.contains(&b'/')
}

/// The first eight bytes as a number, zeroes where there are fewer.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    if let Some(chunk) = bytes.first_chunk() {
        return u64::from_le_bytes(*chunk);
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        // Four to seven: two halves that overlap where they hold the same bytes.
        (Some(first), Some(last)) => {
            let shift = 8 * (bytes.len() - 4);
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
        }
        _ => bytes
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// What is wrong with `path`, as the end of a sentence.
fn validate(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("does not start with a slash");
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err("ends with a slash");
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
    if !path.bytes().all(plain) {
        return Err("has a character that no path of a request can have");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Paths, validate, word};

    fn paths(paths: &[&str]) -> Paths {
        let mut table = Paths::default();
        for path in paths {
            table.add(path).expect("valid");
        }
        table
    }

    /// As the service does it: filter first.
    fn find<'p>(table: &Paths, path: &'p str) -> Option<(usize, Option<&'p str>)> {
        if !table.filter().passes(path) {
            return None;
        }
        table
            .find(path)
            .map(|found| (found.index, found.name(path)))
    }

    #[test]
    fn a_path_matches_byte_for_byte() {
        let table = paths(&[
            "/livez",
            "/readyz",
            "/startupz",
            "/health",
            "/health/detail",
            "/x",
        ]);
        let rows = [
            ("/livez", Some((0, None))),
            ("/readyz", Some((1, None))),
            ("/health", Some((3, None))),
            ("/health/detail", Some((4, None))),
            ("/health/database", Some((3, Some("database")))),
            ("/health/detail/database", Some((4, Some("database")))),
            ("/x", Some((5, None))),
            ("/x/y", Some((5, Some("y")))),
            ("/readyz/", None),
            ("/READYZ", None),
            ("/%72eadyz", None),
            ("/readyz/a/b", None),
            ("//readyz", None),
            ("/readyzz", None),
            ("/ready", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/x/", None),
        ];
        for (path, expected) in rows {
            assert_eq!(find(&table, path), expected, "{path}");
        }
    }

    /// What the filter lets by costs a search: of two letters after the slash, few may.
    #[test]
    fn the_filter_refuses_nearly_every_foreign_path() {
        let filter = paths(&["/livez", "/readyz", "/startupz", "/health"]).filter();
        let foreign = (b'a'..=b'z').flat_map(|one| (b'a'..=b'z').map(move |other| [one, other]));
        let passing: Vec<_> = foreign
            .map(|[one, other]| format!("/{}{}", char::from(one), char::from(other)))
            .filter(|path| filter.passes(path))
            .collect();
        // One of l, r, s, h and one of i, e, t; nothing that comes with another of either.
        assert_eq!(passing.len(), 4 * 3, "{passing:?}");
    }

    #[test]
    fn order_of_registration_does_not_matter() {
        let one = paths(&["/health", "/health/detail"]);
        let other = paths(&["/health/detail", "/health"]);
        for path in ["/health", "/health/detail", "/health/x", "/health/detail/x"] {
            let found = find(&one, path).expect("matches");
            let mirrored = find(&other, path).expect("matches");
            assert_eq!((1 - found.0, found.1), mirrored, "{path}");
        }
    }

    #[test]
    fn the_root_can_be_a_probe() {
        let table = paths(&["/"]);
        assert_eq!(find(&table, "/"), Some((0, None)));
        // Nothing lies directly below the root's path but other paths.
        assert_eq!(find(&table, "/users"), None);
    }

    #[test]
    fn a_word_is_the_first_eight_bytes() {
        let bytes = b"abcdefghij";
        for length in 0..bytes.len() {
            let mut first = [0; 8];
            let kept = length.min(8);
            first[..kept].copy_from_slice(&bytes[..kept]);
            assert_eq!(
                word(&bytes[..length]),
                u64::from_le_bytes(first),
                "{length}"
            );
        }
    }

    #[test]
    fn malformed_paths_are_refused() {
        for path in ["", "health", "/a/", "/a b", "/a?b", "/a#b", "/ä", "/a\n"] {
            assert!(validate(path).is_err(), "{path:?}");
        }
        for path in ["/", "/a", "/a/b", "/a%20b", "/.well-known/health"] {
            assert!(validate(path).is_ok(), "{path:?}");
        }
        assert!(paths(&["/a"]).add("/a").is_err());
    }
}
