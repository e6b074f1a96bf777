//! Where one request ends and the next begins: what proxies and servers disagree about.

use super::{End, Row};

/// Must never be read as a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n";

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (lines, body, answers, end) in SMUGGLING {
        let request = format!("POST /echo HTTP/1.1\r\nhost: test\r\n{lines}\r\n{body}{SMUGGLED}");
        rows.push(Row::new(lines, request, answers, end));
    }
    for (lines, body, answers, end) in SMUGGLING_PAST_A_PROBE {
        let request = format!("POST /readyz HTTP/1.1\r\nhost: test\r\n{lines}\r\n{body}");
        rows.push(Row::new(lines, request, answers, end));
    }
    rows
}

const SMUGGLING: [(&str, &str, &str, End); 20] = [
    (
        "content-length: 6\r\ncontent-length: 5\r\n",
        "hello",
        "server 400",
        End::Closed,
    ),
    (
        "content-length: 5\r\ncontent-length: 5\r\nconnection: close\r\n",
        "hello",
        "inner 200",
        End::Closed,
    ),
    (
        "content-length: 5, 6\r\n",
        "hello",
        "server 400",
        End::Closed,
    ),
    ("content-length: +5\r\n", "hello", "server 400", End::Closed),
    ("content-length: -5\r\n", "hello", "server 400", End::Closed),
    (
        "content-length: 0x5\r\n",
        "hello",
        "server 400",
        End::Closed,
    ),
    (
        "content-length: 5 5\r\n",
        "hello",
        "server 400",
        End::Closed,
    ),
    ("content-length: \r\n", "", "server 400", End::Closed),
    (
        "content-length: 18446744073709551616\r\n",
        "",
        "server 400",
        End::Closed,
    ),
    (
        "content-length: 18446744073709551615\r\n",
        "",
        "server 431",
        End::Closed,
    ),
    (
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "0\r\n\r\n",
        "inner 200",
        End::Closed,
    ),
    (
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "0\r\n\r\n",
        "inner 200",
        End::Closed,
    ),
    (
        "transfer-encoding: xchunked\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding: chunked, identity\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding: identity\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding:\x0bchunked\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding : chunked\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "transfer-encoding:\r\n chunked\r\n",
        "0\r\n\r\n",
        "server 400",
        End::Closed,
    ),
    (
        "content-length\0: 5\r\n",
        "hello",
        "server 400",
        End::Closed,
    ),
];

/// A probe is answered before its body: that body is skipped or the connection ends, and
/// no part of it becomes a request.
const SMUGGLING_PAST_A_PROBE: [(&str, &str, &str, End); 6] = [
    (
        "content-length: 40\r\n",
        "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n\r\n",
        "probe 405",
        End::Open,
    ),
    (
        "content-length: 41\r\nx: 1\r\n",
        "GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n",
        "probe 405",
        End::Closed,
    ),
    (
        "transfer-encoding: chunked\r\n",
        "26\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n\r\n0\r\n\r\n",
        "probe 405",
        End::Open,
    ),
    (
        "transfer-encoding: chunked\r\nx: 1\r\n",
        "ffffffffffffffff\r\nGET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n",
        "probe 405",
        End::Closed,
    ),
    (
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
        "0\r\n\r\n",
        "probe 405",
        End::Closed,
    ),
    (
        "expect: 100-continue\r\ncontent-length: 38\r\n",
        "",
        "probe 405",
        End::Closed,
    ),
];
