//! What is sent over HTTP/2, and what must come back.

use super::{
    Row,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
        WHOLE, WINDOW_UPDATE, fields, frame, get, headers, literal, post, request,
    },
};

pub(super) fn rows() -> Vec<Row> {
    let row = |name, frames: Vec<u8>, events| Row {
        name,
        frames,
        events,
    };
    let mut rows = vec![
        row("a probe", request(&get("/readyz")), "probe"),
        row(
            "an unknown frame",
            [frame(0x42, 0xff, 0, b"x"), request(&get("/readyz"))].concat(),
            "probe",
        ),
        row(
            "a body for a probe",
            [
                headers(&get("/readyz"), END_HEADERS),
                frame(DATA, END_STREAM, 1, &[b'x'; 9_000]),
            ]
            .concat(),
            "probe",
        ),
        row(
            "a body for a probe that never ends",
            [
                headers(&get("/readyz"), END_HEADERS),
                frame(DATA, 0, 1, &[b'x'; 9_000]).repeat(5),
            ]
            .concat(),
            "probe; reset 0",
        ),
        row(
            "no window for the answer",
            [
                frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
                request(&get("/readyz")),
            ]
            .concat(),
            "probe",
        ),
        row(
            "every method at all",
            request(&fields(&[
                (":method", "!$x"),
                (":scheme", "http"),
                (":path", "/readyz"),
            ])),
            "status 405",
        ),
        row(
            "a star",
            request(&fields(&[
                (":method", "OPTIONS"),
                (":scheme", "http"),
                (":authority", "test"),
                (":path", "*"),
            ])),
            "status 404",
        ),
        row(
            "CONNECT",
            headers(
                &fields(&[(":method", "CONNECT"), (":authority", "test:80")]),
                END_HEADERS,
            ),
            "status 404; reset 0",
        ),
        row(
            "a scheme of its own",
            request(&fields(&[
                (":method", "GET"),
                (":scheme", "gopher"),
                (":authority", "a"),
                (":path", "/readyz"),
            ])),
            "probe",
        ),
        row(
            "a priority of itself",
            [
                frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0]),
                request(&get("/readyz")),
            ]
            .concat(),
            "reset 1",
        ),
        row(
            "a window of nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            "goaway 1",
        ),
        row(
            "a window too wide",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            "goaway 3",
        ),
        row(
            "a frame of 16 MB",
            vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1],
            "goaway 6",
        ),
        row("data without a stream", frame(DATA, 0, 0, b"x"), "goaway 1"),
        row(
            "data for a stream that is not",
            frame(DATA, 0, 5, b"x"),
            "goaway 1",
        ),
        row(
            "an even stream",
            frame(HEADERS, WHOLE, 2, &get("/readyz")),
            "goaway 1",
        ),
        row(
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, b""),
            "goaway 1",
        ),
        row(
            "a reference to no entry",
            request(&[0xff, 0x7f]),
            "goaway 1",
        ),
        row(
            "a pushed promise",
            frame(5, END_HEADERS, 1, &[0, 0, 0, 2]),
            "goaway 1",
        ),
        row(
            "settings that cannot be",
            frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 9]),
            "goaway 1",
        ),
        row(
            "half a settings frame",
            frame(SETTINGS, 0, 0, &[0]),
            "goaway 1",
        ),
        row(
            "pings without end",
            frame(PING, 0, 0, &[0; 8]).repeat(10_000),
            "",
        ),
        row(
            "settings without end",
            frame(SETTINGS, 0, 0, b"").repeat(10_000),
            "",
        ),
        row(
            "empty data without end",
            [
                headers(&post("/echo"), END_HEADERS),
                frame(DATA, 0, 1, b"").repeat(10_000),
            ]
            .concat(),
            "goaway 11",
        ),
        row("streams opened and reset", rapid_reset(5_000), "goaway 11"),
        row(
            "a head without end",
            [
                frame(HEADERS, END_STREAM, 1, &get("/readyz")),
                frame(CONTINUATION, 0, 1, &literal("x", "y")).repeat(100_000),
            ]
            .concat(),
            "goaway 11",
        ),
        row(
            "a small head that stands for a large one",
            request(&bomb()),
            "goaway 11",
        ),
    ];
    for (name, more, events) in MALFORMED {
        let head = [get("/readyz"), fields(more)].concat();
        rows.push(row(name, request(&head), events));
    }
    for path in ["", "readyz", "/readyz x", "/\0", "http://"] {
        let head = fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", path),
        ]);
        rows.push(row("a path that is none", request(&head), "reset 1"));
    }
    rows
}

type Fields = [(&'static str, &'static str)];

/// What RFC 9113 calls malformed, after a head in order.
const MALFORMED: [(&str, &Fields, &str); 9] = [
    ("a second path", &[(":path", "/smuggled")], "reset 1"),
    ("a second method", &[(":method", "POST")], "reset 1"),
    (
        "a pseudo field after a field",
        &[("x", "y"), (":authority", "other")],
        "reset 1",
    ),
    (
        "a pseudo field of a response",
        &[(":status", "200")],
        "reset 1",
    ),
    ("a name in capitals", &[("X-Upper", "y")], "goaway 1"),
    ("a line end in a value", &[("x", "a\r\ny: z")], "goaway 1"),
    ("a connection field", &[("connection", "close")], "reset 1"),
    (
        "a transfer coding",
        &[("transfer-encoding", "chunked")],
        "reset 1",
    ),
    (
        "a length without a body",
        &[("content-length", "5")],
        "reset 1",
    ),
];

/// One field of 4 kB put into the decoder's table, then 10 000 references of one byte to it.
fn bomb() -> Vec<u8> {
    let length = 3_900_u16;
    // 127 and the rest in groups of seven bits.
    let rest = length - 127;
    let [low, high] = [(rest & 0x7f) as u8 | 0x80, (rest >> 7) as u8];
    let mut block = get("/readyz");
    block.extend_from_slice(&[0x40, 1, b'x', 0x7f, low, high]);
    block.extend(vec![b'v'; usize::from(length)]);
    block.extend([0xbe; 10_000]);
    block
}

fn rapid_reset(count: u32) -> Vec<u8> {
    let mut frames = Vec::new();
    for stream in (1..).step_by(2).take(count as usize) {
        frames.extend(frame(HEADERS, WHOLE, stream, &get("/readyz")));
        frames.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    frames
}
