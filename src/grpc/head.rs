//! What the head of a call says: whether it is one, and how long it may take.

use std::time::Duration;

use http::{HeaderName, Request, header};

use super::{PATH, status::Refusal};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The methods of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Watch,
    List,
}

impl Method {
    fn of(path: &str) -> Result<Self, Refusal> {
        match path.strip_prefix(PATH) {
            Some("/Check") => Ok(Self::Check),
            Some("/Watch") => Ok(Self::Watch),
            Some("/List") => Ok(Self::List),
            _ => Err(Refusal::UNKNOWN_METHOD),
        }
    }
}

/// The head of a well-formed call.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallHead {
    pub(super) method: Method,
    /// How long the caller waits, where it said so.
    pub(super) timeout: Option<Duration>,
    /// Its messages may be compressed. A sender may say so and compress none.
    pub(super) compresses: bool,
}

impl CallHead {
    pub(super) fn of<A>(request: &Request<A>) -> Result<Self, Refusal> {
        if *request.method() != http::Method::POST {
            return Err(Refusal::METHOD);
        }
        let mut content_type: &[u8] = b"";
        let mut timeout = None;
        let mut compresses = false;
        // One walk: a call has few headers, and to look one up costs more than to pass them all.
        for (name, value) in request.headers() {
            if *name == header::CONTENT_TYPE {
                content_type = value.as_bytes();
            } else if *name == GRPC_TIMEOUT {
                let parsed = parse_timeout(value.as_bytes());
                timeout = Some(parsed.ok_or(Refusal::MALFORMED_TIMEOUT)?);
            } else if *name == GRPC_ENCODING {
                compresses = value != "identity";
            }
        }
        check_content_type(content_type)?;
        Ok(Self {
            method: Method::of(request.uri().path())?,
            timeout,
            compresses,
        })
    }
}

/// `application/grpc`, perhaps with the codec `+proto` and with parameters.
fn check_content_type(value: &[u8]) -> Result<(), Refusal> {
    const GRPC: &[u8] = b"application/grpc";
    let Some((essence, rest)) = value.split_at_checked(GRPC.len()) else {
        return Err(Refusal::CONTENT_TYPE);
    };
    if !essence.eq_ignore_ascii_case(GRPC) {
        return Err(Refusal::CONTENT_TYPE);
    }
    match rest {
        [] | [b';' | b' ', ..] => Ok(()),
        [b'+', codec @ ..] => {
            let end = codec.iter().position(|byte| matches!(byte, b';' | b' '));
            let codec = &codec[..end.unwrap_or(codec.len())];
            if codec.eq_ignore_ascii_case(b"proto") {
                Ok(())
            } else {
                Err(Refusal::CODEC)
            }
        }
        // application/grpc-web is another protocol: a translating layer belongs outside.
        _ => Err(Refusal::CONTENT_TYPE),
    }
}

/// One to eight digits and a unit, as in `100m`.
fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tonic::Code;

    use super::{CallHead, check_content_type, parse_timeout};

    #[test]
    fn a_timeout_has_one_to_eight_digits_and_a_unit() {
        let table: [(&str, Option<Duration>); 17] = [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("00000005u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("123456789m", None),
            ("", None),
            ("m", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            ("1 S", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse_timeout(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn the_content_type_is_grpc_with_protobuf() {
        let table = [
            ("application/grpc", None),
            ("application/grpc+proto", None),
            ("Application/gRPC", None),
            ("application/grpc; charset=utf-8", None),
            ("application/grpc+proto;x=y", None),
            ("application/grpc+json", Some(200)),
            ("application/grpc+", Some(200)),
            ("application/grpc-web", Some(415)),
            ("application/grpc-web+proto", Some(415)),
            ("application/grpcx", Some(415)),
            ("application/json", Some(415)),
            ("application/grp", Some(415)),
            ("", Some(415)),
        ];
        for (value, refused) in table {
            let found = check_content_type(value.as_bytes());
            let code = found.err().map(|refusal| {
                let response = refusal.response(http::HeaderMap::new());
                response.status().as_u16()
            });
            assert_eq!(code, refused, "{value:?}");
        }
    }

    #[test]
    fn a_head_that_is_no_call_is_refused() {
        let head = |headers: &[(&str, &str)]| {
            let mut request = Request::post("/grpc.health.v1.Health/Check")
                .header("content-type", "application/grpc");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let refusal = CallHead::of(&request.body(()).expect("valid")).err()?;
            let response = refusal.response(http::HeaderMap::new());
            let status = response.headers()["grpc-status"].to_str().expect("ascii");
            Some(Code::from_bytes(status.as_bytes()))
        };
        type Row = (&'static [(&'static str, &'static str)], Option<Code>);
        let table: [Row; 5] = [
            (&[], None),
            (
                &[("grpc-timeout", "1S"), ("grpc-encoding", "identity")],
                None,
            ),
            (&[("grpc-encoding", "gzip")], None),
            (&[("grpc-timeout", "soon")], Some(Code::Internal)),
            (&[("grpc-accept-encoding", "gzip")], None),
        ];
        for (headers, expected) in table {
            assert_eq!(head(headers), expected, "{headers:?}");
        }
    }
}
