//! No circle of imports: a room knows those that `src/DESIGN.md` names before it.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms in the order of the table.
fn rooms() -> Vec<String> {
    let design = fs::read_to_string(sources().join("DESIGN.md")).expect("the design");
    let (_, rest) = design.split_once("| room |").expect("the table");
    let rows = rest
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let cell = row.split('|').nth(1).expect("a row has cells");
        let names = cell.split('`').skip(1).step_by(2);
        names.map(|name| {
            name.trim_end_matches('/')
                .trim_end_matches(".rs")
                .to_owned()
        })
    })
    .collect()
}

/// All sources that are not tests.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let name = name.expect("names are text");
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !name.ends_with("tests")
            && !name.ends_with("properties")
        {
            found.push(path);
        }
    }
}

/// The rooms that `text` names, tests and comments left out.
fn named(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let code = code.and_then(|code| code.split("#[cfg(test)]\npub(super) mod tests {").next());
    let lines = code.expect("the first part").lines();
    let code: Vec<_> = lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            None => names.push(first_name(path)),
            Some(list) => names.extend(first_level(list).into_iter().map(first_name)),
        }
    }
    names
}

/// The items of a list in braces, those in braces inside it left whole.
fn first_level(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn first_name(path: &str) -> String {
    let is_part = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    path.trim_start().chars().take_while(is_part).collect()
}

#[test]
fn no_room_knows_a_later_one() {
    let rooms = rooms();
    let place = |name: &str| {
        let place = rooms.iter().position(|room| room == name);
        place.unwrap_or_else(|| panic!("src/DESIGN.md has no room for {name:?}"))
    };
    let mut paths = Vec::new();
    files(&sources(), &mut paths);
    let mut imports = 0;
    for path in paths {
        let inside = path.strip_prefix(sources()).expect("a source");
        if inside == Path::new("lib.rs") {
            continue;
        }
        let room = inside.iter().next().and_then(|part| part.to_str());
        let room = room.expect("names are text").trim_end_matches(".rs");
        let text = fs::read_to_string(&path).expect("a source");
        for other in named(&text) {
            imports += 1;
            assert!(place(&other) <= place(room), "{inside:?} knows {other}");
        }
    }
    assert!(imports > 100, "{imports}");
}

#[test]
fn what_is_named_is_found() {
    let text = "use crate::{\n    a::{B, c::D},\n    e,\n};\n// crate::no\npub(crate) fn f(_: crate::g::H) {}\n\
                #[cfg(test)]\nmod tests {\n    use crate::no;\n}\n";
    assert_eq!(named(text), ["a", "e", "g"]);
}
