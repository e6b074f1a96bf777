//! Frames and header blocks, byte by byte.

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// A whole request in one frame.
pub(super) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// The status, which comes first: from the static table, or as a literal in Huffman's code.
pub(super) fn status(block: &[u8]) -> &'static str {
    match *block {
        [0x88, ..] => "200",
        [0x8c, ..] => "400",
        [0x8d, ..] => "404",
        [0x8e, ..] => "500",
        [0x48, 0x83, 0x6c, 0x0c, 0xff, ..] => "503",
        [0x48, 0x83, 0x68, 0x0d, 0xff, ..] => "405",
        [0x48, 0x83, 0x69, 0x90, 0xff, ..] => "431",
        _ => "unknown",
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

pub(super) fn request(block: &[u8]) -> Vec<u8> {
    headers(block, WHOLE)
}

pub(super) fn headers(block: &[u8], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags, 1, block)
}

pub(super) fn get(path: &str) -> Vec<u8> {
    fields(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ])
}

pub(super) fn post(path: &str) -> Vec<u8> {
    fields(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ])
}

pub(super) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// HPACK without an index and without Huffman's code; short strings only.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| {
        u8::try_from(text.len())
            .ok()
            .filter(|length| *length < 127)
            .expect("short")
    };
    [
        &[0, short(name)],
        name.as_bytes(),
        &[short(value)],
        value.as_bytes(),
    ]
    .concat()
}
