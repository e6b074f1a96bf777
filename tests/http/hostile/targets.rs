//! Request lines: targets, methods and versions.

use super::{End, Row, get};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (target, answers) in TARGETS {
        rows.push(Row::new(target, get(target), answers, End::Open));
    }
    for (target, answers) in REFUSED_TARGETS {
        rows.push(Row::new(target, get(target), answers, End::Closed));
    }
    for (method, answers) in METHODS {
        let request = format!("{method} /readyz HTTP/1.1\r\nhost: test\r\n\r\n");
        rows.push(Row::new(method, request, answers, End::Open));
    }
    for (line, answers, end) in LINES {
        let request = format!("{line}\r\nhost: test\r\n\r\n");
        rows.push(Row::new(line, request, answers, end));
    }
    rows.extend(long());
    rows
}

const TARGETS: [(&str, &str); 35] = [
    // A host as far as the parser knows.
    ("readyz", "inner 404"),
    ("http://test/readyz", "probe 200"),
    ("https://other:99/readyz?x", "probe 200"),
    ("http://user:secret@test/readyz", "probe 200"),
    ("http://[::1]:1/readyz", "probe 200"),
    ("http://test", "inner 200"),
    ("http://test?/readyz", "inner 200"),
    ("http://test/?/readyz", "inner 200"),
    ("//readyz", "inner 404"),
    ("/./readyz", "inner 404"),
    ("/x/../readyz", "inner 404"),
    ("/readyz/", "inner 404"),
    ("/readyz//", "inner 404"),
    ("/readyz/..", "inner 404"),
    ("/readyz/%2e%2e", "inner 404"),
    ("/%72eadyz", "inner 404"),
    ("/READYZ", "inner 404"),
    ("/readyz%00", "inner 404"),
    ("/readyz%0d%0ax-injected:%201", "inner 404"),
    ("/readyz%2f", "inner 404"),
    ("/readyz%2fdatabase", "inner 404"),
    ("/readyz;jsessionid=1", "inner 404"),
    ("/readyz?", "probe 200"),
    ("/readyz??&&==%%", "probe 200"),
    ("/readyz?%00%0d%0a", "probe 200"),
    ("/health/database", "probe 200"),
    ("/health/data%62ase", "probe 200"),
    ("/health/%", "inner 404"),
    ("/health/%zz", "inner 404"),
    ("/health/%ff%fe", "inner 404"),
    ("/health/%00", "inner 404"),
    ("/health/%2fdatabase", "inner 404"),
    ("/health/database/", "inner 404"),
    ("/health/database%0d%0aset-cookie:%20a=b", "inner 404"),
    ("/health/b\u{fc}ro", "inner 404"),
];

const REFUSED_TARGETS: [(&str, &str); 8] = [
    ("", "server 400"),
    ("http://", "server 400"),
    ("http:///readyz", "server 400"),
    ("/readyz x", "server 400"),
    ("/readyz\0", "server 400"),
    ("/readyz\u{7f}", "server 400"),
    ("\t/readyz", "server 400"),
    ("ftp:/readyz", "server 400"),
];

const METHODS: [(&str, &str); 11] = [
    ("HEAD", "probe 200 head"),
    ("POST", "probe 405"),
    ("PUT", "probe 405"),
    ("PATCH", "probe 405"),
    ("DELETE", "probe 405"),
    ("OPTIONS", "probe 405"),
    ("TRACE", "probe 405"),
    ("get", "probe 405"),
    ("GETT", "probe 405"),
    ("PROPFIND", "probe 405"),
    ("!#$%&'*+-.^_`|~0", "probe 405"),
];

const LINES: [(&str, &str, End); 16] = [
    ("OPTIONS * HTTP/1.1", "inner 404", End::Open),
    ("GET * HTTP/1.1", "inner 404", End::Open),
    ("CONNECT test:80 HTTP/1.1", "inner 404", End::Open),
    ("CONNECT /readyz HTTP/1.1", "probe 405", End::Open),
    (
        "CONNECT http://test/readyz HTTP/1.1",
        "probe 405",
        End::Open,
    ),
    ("G@T /readyz HTTP/1.1", "server 400", End::Closed),
    ("GET /readyz HTTP/1.0", "probe 200", End::Closed),
    ("GET /readyz HTTP/0.9", "server 400", End::Closed),
    ("GET /readyz HTTP/1.2", "server 400", End::Closed),
    ("GET /readyz HTTP/2.0", "server 400", End::Closed),
    ("GET /readyz HTTP/11.1", "server 400", End::Closed),
    ("GET /readyz http/1.1", "server 400", End::Closed),
    ("GET /readyz", "server 400", End::Closed),
    ("GET  /readyz HTTP/1.1", "server 400", End::Closed),
    ("GET\t/readyz\tHTTP/1.1", "server 400", End::Closed),
    (" GET /readyz HTTP/1.1", "server 400", End::Closed),
];

fn long() -> Vec<Row> {
    let of = |length: usize| "a".repeat(length);
    vec![
        Row::new(
            "a query of 60 kB",
            get(&format!("/readyz?{}", of(60_000))),
            "probe 200",
            End::Open,
        ),
        Row::new(
            "a name of 60 kB",
            get(&format!("/health/{}", of(60_000))),
            "inner 404",
            End::Open,
        ),
        Row::new(
            "an encoded name of 60 kB",
            get(&format!("/health/{}", "%61".repeat(20_000))),
            "inner 404",
            End::Open,
        ),
        Row::new(
            "a query of 1 MB",
            get(&format!("/readyz?{}", of(1 << 20))),
            "server 431",
            End::Closed,
        ),
        Row::new(
            "a path of 1 MB",
            get(&format!("/readyz/{}", of(1 << 20))),
            "server 431",
            End::Closed,
        ),
        Row::new(
            "60 000 segments",
            get(&"/x".repeat(30_000)),
            "inner 404",
            End::Open,
        ),
        Row::new(
            "a method of 10 kB",
            format!("{} /readyz HTTP/1.1\r\nhost: test\r\n\r\n", of(10_000)),
            "probe 405",
            End::Open,
        ),
        Row::new(
            "a path that is no UTF-8",
            [&b"GET /health/\xff\xfe HTTP/1.1\r\nhost: test\r\n\r\n"[..]].concat(),
            "server 400",
            End::Closed,
        ),
    ]
}
