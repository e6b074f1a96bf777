//! The operators' page is complete, and says what the code says.

use std::{collections::BTreeSet, path::Path};

use tower_health::Reason;

const OPERATORS: &str = include_str!("../../src/guide/operators.md");
const PAGES: [&str; 10] = [
    include_str!("../../src/guide/custom_checks.md"),
    include_str!("../../src/guide/lifecycle.md"),
    include_str!("../../src/guide/monitoring.md"),
    include_str!("../../src/guide/other_pools.md"),
    include_str!("../../src/guide/serving.md"),
    include_str!("../../src/guide/testing.md"),
    include_str!("../../src/guide/formats.md"),
    include_str!("../../src/guide/placement.md"),
    include_str!("../../src/guide/policy.md"),
    OPERATORS,
];

/// The lines of the section called `title`.
fn section<'a>(page: &'a str, title: &str) -> &'a str {
    let start = format!("\n# {title}\n");
    let (_, rest) = page.split_once(&start).expect(title);
    rest.split("\n# ").next().expect("the first part")
}

#[test]
fn every_reason_stands_in_the_table_with_its_own_words() {
    let table = section(OPERATORS, "Reasons");
    for reason in Reason::ALL {
        let (meaning, action) = (reason.meaning(), reason.action());
        let row = format!("| `{reason}` | {meaning} | {action} |\n");
        assert_eq!(table.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn every_code_that_the_layer_answers_stands_in_the_table() {
    let table = section(OPERATORS, "Codes");
    for code in [200, 403, 404, 405, 503] {
        assert!(table.contains(&format!("\n| {code}")), "{code}");
    }
}

#[test]
fn every_serving_status_of_grpc_stands_in_the_table() {
    let table = section(OPERATORS, "gRPC");
    for status in ["SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"] {
        assert!(table.contains(&format!("`{status}`")), "{status}");
    }
}

#[test]
fn every_prober_has_a_paragraph() {
    let wiring = section(OPERATORS, "Wiring");
    for prober in [
        "Kubernetes",
        "AWS ALB",
        "Google Cloud",
        "Consul",
        "Nomad",
        "Docker",
        "Envoy",
        "HAProxy",
        "nginx",
        "Prometheus blackbox",
    ] {
        assert!(wiring.contains(&format!("\n## {prober}\n")), "{prober}");
    }
}

/// The code blocks in `language`.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let after = page.split(&*fence).skip(1);
    let blocks: Vec<_> = after.filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "{language}");
    blocks
}

#[test]
fn what_can_be_copied_can_be_read_by_a_parser() {
    for block in blocks(OPERATORS, "json") {
        serde_json::from_str::<serde_json::Value>(block).expect("JSON");
    }
    for block in blocks(OPERATORS, "yaml") {
        yaml_rust2::YamlLoader::load_from_str(block).expect("YAML");
    }
    for language in ["hcl", "nginx"] {
        for block in blocks(OPERATORS, language) {
            let count = |sign: char| block.matches(sign).count();
            assert_eq!(count('{'), count('}'), "{block}");
        }
    }
}

/// Where docs.rs shows the files of the package. Relative links work on one of docs.rs and GitHub only.
const SOURCE: &str = "https://docs.rs/crate/tower-health/latest/source";

#[test]
fn every_example_path_exists_and_is_a_link() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for page in PAGES {
        let words = page.split('`').filter(|word| word.starts_with("examples/"));
        for file in words.collect::<BTreeSet<_>>() {
            assert!(root.join(file).exists(), "{file}");
            let slash = if root.join(file).is_dir() { "/" } else { "" };
            let definition = format!("\n[`{file}`]: {SOURCE}/{file}{slash}\n");
            assert!(page.contains(&definition), "{definition}");
            let uses = page.matches(&format!("`{file}`")).count();
            assert_eq!(uses, page.matches(&format!("[`{file}`]")).count(), "{file}");
            count += 1;
        }
    }
    assert!(count >= 15, "{count}");
}
