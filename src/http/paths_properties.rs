//! The path table says what a search without any cleverness says, whatever paths there are.

use proptest::{collection::vec, prelude::*, sample::select};

use super::paths::Paths;

/// Segments that share beginnings, with each other and across the eighth byte.
const SEGMENTS: [&str; 10] = [
    "a", "b", "ab", "health", "healthz", "hea", "%61", ".", "readyz-1", "readyz-2",
];

fn path() -> impl Strategy<Value = String> {
    vec(select(&SEGMENTS[..]), 0..4).prop_map(|segments| format!("/{}", segments.join("/")))
}

/// What a request may ask for: something near the table, or near nothing.
fn asked() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => path(),
        1 => (path(), select(&["/", "//", "/x/", "x", "/%2f", "?", "?/a", "/a?b/c", "\u{e4}"][..]))
            .prop_map(|(path, end)| path + end),
        1 => (path(), 0..24_usize).prop_map(|(path, length)| path.chars().take(length).collect()),
        1 => "[/ab%h]{0,12}",
        1 => ".{0,12}",
    ]
}

/// The path itself, else the one that it is one segment below.
fn naive<'p>(paths: &[String], asked: &'p str) -> Option<(usize, Option<&'p str>)> {
    if let Some(index) = paths.iter().position(|path| path == asked) {
        return Some((index, None));
    }
    let (parent, name) = asked.rsplit_once('/')?;
    let index = paths.iter().position(|path| path == parent)?;
    (!name.is_empty()).then_some((index, Some(name)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn table_and_filter_agree_with_a_naive_search(
        mut paths in vec(path(), 0..8),
        asked in vec(asked(), 1..32),
    ) {
        let mut table = Paths::default();
        paths.retain(|path| table.add(path).is_ok());
        // Below a probe at a path of the table's is where most of the decisions are.
        let below = paths.iter().flat_map(|path| [format!("{path}/x"), format!("{path}/x/y"), format!("{path}x")]);
        for asked in asked.iter().cloned().chain(below) {
            // What is asked for comes with its query.
            let path = asked.split_once('?').map_or(&*asked, |(path, _)| path);
            let found = table.find(&asked).map(|found| (found.index, found.name(path)));
            let expected = naive(&paths, path);
            prop_assert_eq!(found, expected, "{:?} in {:?}", asked, paths);
            // The filter may pass what is no probe's, never hold back what is one's.
            prop_assert!(expected.is_none() || table.filter().passes(&asked), "{:?} in {:?}", asked, paths);
        }
    }

    #[test]
    fn an_accepted_path_is_one_that_a_request_can_have(
        path in prop_oneof!["/[!-~]{0,8}", "/[\\x00-\\x7f\u{e4}]{0,4}", ".{0,4}"],
    ) {
        let mut table = Paths::default();
        if table.add(&path).is_ok() {
            let uri: http::Uri = path.parse().expect("a request can have it");
            prop_assert_eq!(uri.path(), path.as_str());
            prop_assert_eq!(table.find(uri.path()).map(|found| found.index), Some(0));
        }
    }
}
