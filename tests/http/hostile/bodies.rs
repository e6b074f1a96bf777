//! Bodies nobody asked for, requests in a hurry, and those that take their time.

use super::{End, Part, Row, get};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            "an endless chunked body for a probe",
            chunked("POST", "/readyz"),
            "probe 405",
            End::Closed,
        )
        .then(Part::Endless(chunk(65_536))),
        Row::new(
            "an endless chunked body of single bytes for a probe",
            chunked("GET", "/readyz"),
            "probe 200",
            End::Closed,
        )
        .then(Part::Endless(b"1\r\nx\r\n".repeat(1_000))),
        Row::new(
            "an endless chunked body for the app",
            chunked("POST", "/echo"),
            "inner 413",
            End::Closed,
        )
        .then(Part::Endless(chunk(65_536))),
        Row::new(
            "an endless chunk extension",
            chunked("POST", "/echo"),
            "inner 400",
            End::Closed,
        )
        .then(Part::Bytes(b"1;".to_vec()))
        .then(Part::Endless(vec![b'e'; 65_536])),
        Row::new(
            "endless trailers",
            chunked("POST", "/echo"),
            "inner 400",
            End::Closed,
        )
        .then(Part::Bytes(b"0\r\n".to_vec()))
        .then(Part::Endless(b"x-trailer: y\r\n".repeat(1_000))),
        Row::new("an endless line of nothing", "", "server 431", End::Closed)
            .then(Part::Endless(vec![b'a'; 65_536])),
        Row::new(
            "endless header fields",
            "GET /readyz HTTP/1.1\r\n",
            "server 431",
            End::Closed,
        )
        .then(Part::Endless(b"x: y\r\n".repeat(1_000))),
    ];
    for (name, body, answers, end) in CHUNKS {
        rows.push(
            Row::new(name, chunked("POST", "/echo"), answers, end)
                .then(Part::Bytes(body.as_bytes().to_vec())),
        );
    }
    rows.extend(hurried());
    rows.extend(slow());
    rows
}

const CHUNKS: [(&str, &str, &str, End); 6] = [
    (
        "a chunk of 2^64 bytes",
        "10000000000000000\r\n",
        "inner 400",
        End::Closed,
    ),
    ("a chunk of no number", "g\r\n", "inner 400", End::Closed),
    (
        "a chunk of less than nothing",
        "-1\r\n",
        "inner 400",
        End::Closed,
    ),
    (
        "a chunk that goes on",
        "1\r\nabc\r\n0\r\n\r\n",
        "inner 400",
        End::Closed,
    ),
    (
        "a chunk with an extension",
        "1;a=\"\r\n\"\r\n",
        "",
        End::Waits,
    ),
    (
        "a chunk with trailers",
        "1\r\na\r\n0\r\nhost: evil\r\ncontent-length: 9\r\n\r\n",
        "inner 200",
        End::Open,
    ),
];

fn hurried() -> Vec<Row> {
    let mut many = Vec::new();
    for _ in 0..200 {
        many.extend(get("/readyz"));
        many.extend(get("/"));
    }
    // Leaked once per test binary: a row's expectation is a literal everywhere else.
    let answers = vec!["probe 200; inner 200"; 200].join("; ").leak();
    let after_a_body = [
        &b"GET /readyz HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello"[..],
        &get("/"),
        b"POST /health HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HEAD /readyz HTTP/1.1\r\nhost: test\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello",
    ]
    .concat();
    vec![
        Row::new("400 requests in a row", many, answers, End::Open),
        Row::new(
            "a pipeline of all kinds",
            after_a_body,
            "probe 200; inner 200; probe 405; probe 200 head; inner 200",
            End::Open,
        ),
        Row::new(
            "a request after the last one",
            [
                &b"GET /readyz HTTP/1.1\r\nconnection: close\r\n\r\n"[..],
                &get("/smuggled"),
            ]
            .concat(),
            "probe 200",
            End::Closed,
        ),
        Row::new(
            "a request after one that cannot be read",
            [&get("/readyz"), &b"\0\0\0\0\r\n\r\n"[..], &get("/smuggled")].concat(),
            "probe 200; server 400",
            End::Closed,
        ),
        Row::new(
            "empty lines first",
            [&b"\r\n\r\n\r\n"[..], &get("/readyz")].concat(),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "a body that waits to be asked for",
            "POST /echo HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
            "server 100; inner 200",
            End::Open,
        ),
    ]
}

fn slow() -> Vec<Row> {
    vec![
        Row::new("a head in drops", "", "probe 200", End::Open).then(Part::Drip(get("/readyz"))),
        Row::new(
            "a body in drops",
            chunked("POST", "/echo"),
            "inner 200",
            End::Open,
        )
        .then(Part::Drip(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n".to_vec())),
        Row::new("nothing at all", "", "", End::Waits),
        Row::new("half a request line", "GET /rea", "", End::Waits),
        Row::new(
            "half a head",
            "GET /readyz HTTP/1.1\r\nhost: te",
            "",
            End::Waits,
        ),
        Row::new(
            "all but the last byte",
            &get("/readyz")[..get("/readyz").len() - 1],
            "",
            End::Waits,
        ),
        Row::new(
            "half a body for the app",
            "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhal",
            "",
            End::Waits,
        ),
        Row::new(
            "half a chunk for the app",
            chunked("POST", "/echo"),
            "",
            End::Waits,
        )
        .then(Part::Bytes(b"5\r\nhal".to_vec())),
        Row::new(
            "half a head after a whole one",
            [&get("/readyz"), &b"GET /rea"[..]].concat(),
            "probe 200",
            End::Waits,
        ),
    ]
}

fn chunked(method: &str, path: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .into_bytes()
}

fn chunk(length: usize) -> Vec<u8> {
    [
        format!("{length:x}\r\n").as_bytes(),
        &vec![b'x'; length],
        b"\r\n",
    ]
    .concat()
}
