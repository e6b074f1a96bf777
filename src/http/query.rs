//! The query of a probe, as kube-apiserver reads it: `verbose` and `exclude`, by name.

/// A longer query is ignored.
const MAX_QUERY_LENGTH: usize = 2_048;
/// Further names are ignored. These dependencies count, which is the strict side.
const MAX_EXCLUDED: usize = 64;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Whether there is a `verbose`, with any value.
    pub(super) verbose: bool,
    /// The names in `exclude`, each once.
    pub(super) excluded: Vec<String>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut found = Self::default();
        if query.len() > MAX_QUERY_LENGTH {
            return found;
        }
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "verbose" => found.verbose = true,
                "exclude" if found.excluded.len() < MAX_EXCLUDED => {
                    let name = percent_decoded(&value.replace('+', " "));
                    let name = name.filter(|name| !name.is_empty());
                    found
                        .excluded
                        .extend(name.filter(|name| !found.excluded.contains(name)));
                }
                _ => {}
            }
        }
        found
    }
}

/// Decodes `text`; `None` if an escape is malformed or the result is not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{MAX_EXCLUDED, MAX_QUERY_LENGTH, Query, percent_decoded};

    #[test]
    fn only_verbose_and_exclude_are_read() {
        let table: &[(&str, bool, &[&str])] = &[
            ("", false, &[]),
            ("verbose", true, &[]),
            ("verbose=", true, &[]),
            ("verbose=true", true, &[]),
            // As in kube-apiserver, the value does not count.
            ("verbose=false", true, &[]),
            ("VERBOSE", false, &[]),
            ("verbosely", false, &[]),
            ("x=verbose", false, &[]),
            ("exclude=ping", false, &["ping"]),
            ("exclude=ping&exclude=log", false, &["ping", "log"]),
            (
                "exclude=log&exclude=ping&exclude=log",
                false,
                &["log", "ping"],
            ),
            ("exclude=a,b", false, &["a,b"]),
            (
                "exclude=a%20b&exclude=c+d&exclude=e%2Bf",
                false,
                &["a b", "c d", "e+f"],
            ),
            ("exclude=b%C3%BCro", false, &["büro"]),
            ("exclude=&exclude", false, &[]),
            ("exclude=%ff&exclude=%&exclude=%4", false, &[]),
            ("a&&=&verbose=1&exclude=x=y", true, &["x=y"]),
        ];
        for (query, verbose, excluded) in table {
            let found = Query::parse(query);
            assert_eq!(found.verbose, *verbose, "{query}");
            assert_eq!(found.excluded, *excluded, "{query}");
        }
    }

    #[test]
    fn a_query_is_bounded() {
        let many: String = (0..1_000).map(|n| format!("&exclude={n}")).collect();
        assert_eq!(Query::parse(&many), Query::default(), "too long");
        let many: String = (0..100).map(|n| format!("exclude={n}&")).collect();
        assert_eq!(Query::parse(&many).excluded.len(), MAX_EXCLUDED);
        let longest = format!("verbose&{}", "x".repeat(MAX_QUERY_LENGTH - 8));
        assert!(Query::parse(&longest).verbose);
        assert!(!Query::parse(&(longest + "x")).verbose);
    }

    #[test]
    fn segments_are_percent_decoded() {
        let table = [
            ("database", Some("database")),
            ("b%C3%BCro", Some("büro")),
            ("a%20b", Some("a b")),
            ("a%2Fb", Some("a/b")),
            ("100%25", Some("100%")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
        ];
        for (segment, name) in table {
            assert_eq!(percent_decoded(segment).as_deref(), name, "{segment}");
        }
    }
}
