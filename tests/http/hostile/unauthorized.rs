//! Those who came to the wrong door: other protocols, and noise.

use super::{End, Row};

pub(super) fn rows() -> Vec<Row> {
    let refused = [
        (
            "TLS",
            &b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x03\r\n\r\n"[..],
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n\r\n"),
        ("SMTP", b"EHLO test\r\n\r\n"),
        (
            "a PROXY line",
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /readyz HTTP/1.1\r\n\r\n",
        ),
        (
            "a PROXY header",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x01\0\x02",
        ),
        (
            "a response",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        ("RTSP", b"OPTIONS rtsp://test/ RTSP/1.0\r\nCSeq: 1\r\n\r\n"),
        ("noise", b"\xff\xfe\xfd\x80\x81\r\n\r\n"),
        ("zeroes", &[0; 512]),
    ];
    refused
        .into_iter()
        .map(|(name, bytes)| Row::new(name, bytes, "server 400", End::Closed))
        .collect()
}
