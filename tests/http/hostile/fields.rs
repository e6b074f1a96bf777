//! Header fields: odd, many, large, and none at all.

use super::{End, Row, with};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = many();
    for (lines, answers, end) in FIELDS {
        rows.push(Row::new(lines, with(lines), answers, end));
    }
    rows
}

const FIELDS: [(&str, &str, End); 24] = [
    ("host: other\r\n", "probe 200", End::Open),
    ("content-length: 0\r\n", "probe 200", End::Open),
    (
        "connection: close, readyz, upgrade\r\n",
        "probe 200",
        End::Closed,
    ),
    (
        "connection: keep-alive, close\r\n",
        "probe 200",
        End::Closed,
    ),
    (
        "connection: host, cache-control\r\n",
        "probe 200",
        End::Open,
    ),
    (
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n",
        "probe 200",
        End::Open,
    ),
    (
        "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "probe 200",
        End::Open,
    ),
    ("expect: 100-continue\r\n", "probe 200", End::Open),
    ("expect: something-else\r\n", "probe 200", End::Open),
    (
        "range: bytes=0-0,1-1,2-2\r\nif-none-match: *\r\nif-modified-since: never\r\n",
        "probe 200",
        End::Open,
    ),
    (
        "accept: \r\naccept-encoding: *;q=-1\r\n",
        "probe 200",
        End::Open,
    ),
    (
        "x-forwarded-for: 127.0.0.1, ::1, %00\r\nforwarded: for=\"[::1]\";;=,\r\n",
        "probe 200",
        End::Open,
    ),
    ("authorization: Bearer\r\n", "probe 200", End::Open),
    ("x: \u{fc}\u{1f980}\r\n", "probe 200", End::Open),
    (
        "te: trailers, deflate;q=0.5\r\ntrailer: host\r\n",
        "probe 200",
        End::Open,
    ),
    ("http2-settings: %%%\r\n", "probe 200", End::Open),
    ("x: a\0b\r\n", "server 400", End::Closed),
    ("x: a\rb\r\n", "server 400", End::Closed),
    ("x\r\n", "server 400", End::Closed),
    (": x\r\n", "server 400", End::Closed),
    ("x y: z\r\n", "server 400", End::Closed),
    ("x : y\r\n", "server 400", End::Closed),
    (" x: y\r\n", "server 400", End::Closed),
    ("x: y\r\n folded\r\n", "server 400", End::Closed),
];

fn many() -> Vec<Row> {
    let fields =
        |count: usize| -> String { (0..count).map(|at| format!("x-{at}: {at}\r\n")).collect() };
    let same = |count: usize| "x: y\r\n".repeat(count);
    let value = |length: usize| format!("x: {}\r\n", "v".repeat(length));
    let name = |length: usize| format!("{}: x\r\n", "n".repeat(length));
    vec![
        Row::new(
            "99 header fields",
            with(&fields(99)),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "99 header fields of one name",
            with(&same(99)),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "5 000 header fields",
            with(&fields(5_000)),
            "server 431",
            End::Closed,
        ),
        Row::new(
            "a value of 100 kB",
            with(&value(100_000)),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "a value of 1 MB",
            with(&value(1 << 20)),
            "server 431",
            End::Closed,
        ),
        Row::new(
            "a name of 60 kB",
            with(&name(60_000)),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "a name of 100 kB",
            with(&name(100_000)),
            "server 431",
            End::Closed,
        ),
        Row::new(
            "no host",
            "GET /readyz HTTP/1.1\r\n\r\n",
            "probe 200",
            End::Open,
        ),
        Row::new(
            "bare line feeds",
            "GET /readyz HTTP/1.1\nhost: test\n\n",
            "probe 200",
            End::Open,
        ),
        Row::new(
            "bare carriage returns",
            "GET /readyz HTTP/1.1\rhost: test\r\r",
            "server 400",
            End::Closed,
        ),
    ]
}
