//! Answers that are a status and nothing else.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tonic::Code;

use super::GrpcBody;

pub(super) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// Every code that there is.
const CODES: [&str; 17] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
];

/// A status with its message, as it ends a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    http: StatusCode,
    code: Code,
    /// Sent as it is: plain ASCII without `%`, so that nothing needs escaping.
    message: &'static str,
}

impl Refusal {
    const fn new(code: Code, message: &'static str) -> Self {
        Self {
            http: StatusCode::OK,
            code,
            message,
        }
    }

    /// For what is no gRPC: its sender understands the HTTP code.
    const fn http(self, http: StatusCode) -> Self {
        Self { http, ..self }
    }

    // The codes for whatever is no gRPC are those of grpc-go.
    pub(super) const METHOD: Self =
        Self::new(Code::Internal, "the method is not POST").http(StatusCode::METHOD_NOT_ALLOWED);
    pub(super) const CONTENT_TYPE: Self = Self::new(
        Code::InvalidArgument,
        "the content-type is not application/grpc",
    )
    .http(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    pub(super) const CODEC: Self = Self::new(
        Code::Unimplemented,
        "messages are protobuf and nothing else",
    );
    pub(super) const ENCODING: Self = Self::new(Code::Unimplemented, "messages are not compressed");
    pub(super) const MALFORMED_TIMEOUT: Self = Self::new(Code::Internal, "malformed grpc-timeout");
    pub(super) const UNKNOWN_METHOD: Self = Self::new(Code::Unimplemented, "unknown method");
    pub(super) const FORBIDDEN: Self = Self::new(Code::PermissionDenied, "not allowed");
    pub(super) const FLAG: Self = Self::new(
        Code::Internal,
        "a compressed message without grpc-encoding, or an invalid flag",
    );
    pub(super) const TOO_LARGE: Self =
        Self::new(Code::ResourceExhausted, "the message is larger than 64 KiB");
    pub(super) const TRUNCATED: Self =
        Self::new(Code::Internal, "the stream ended within a message");
    pub(super) const NO_MESSAGE: Self = Self::new(Code::Internal, "no message");
    pub(super) const TWO_MESSAGES: Self = Self::new(Code::Internal, "more than one message");
    pub(super) const MALFORMED: Self = Self::new(Code::Internal, "malformed protobuf");
    pub(super) const CANCELLED: Self = Self::new(Code::Cancelled, "the request was given up");
    pub(super) const TOO_LONG: Self = Self::new(
        Code::InvalidArgument,
        "the service name is longer than 200 bytes",
    );
    pub(super) const NOT_FOUND: Self = Self::new(Code::NotFound, "unknown service");
    pub(super) const DEADLINE: Self = Self::new(Code::DeadlineExceeded, "no verdict in time");
    pub(super) const TOO_MANY_SERVICES: Self =
        Self::new(Code::ResourceExhausted, "more than 100 services");
    pub(super) const TOO_MANY_WATCHERS: Self =
        Self::new(Code::ResourceExhausted, "too many watch already");
    pub(super) const CLOSING: Self = Self::new(Code::Unavailable, "the server shuts down");

    /// The response: a head that is its own trailers. In the request's own header map.
    #[cold]
    pub(super) fn response(self, mut headers: HeaderMap) -> Response<GrpcBody> {
        headers.clear();
        headers.insert(header::CONTENT_TYPE, GRPC);
        self.write(&mut headers);
        if self.message == Self::ENCODING.message {
            headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.http == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        let mut response = Response::new(GrpcBody::empty());
        *response.status_mut() = self.http;
        *response.headers_mut() = headers;
        response
    }

    /// The trailers that end a stream.
    pub(super) fn trailers(self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        self.write(&mut trailers);
        trailers
    }

    fn write(self, headers: &mut HeaderMap) {
        // Spelled out: a number becomes a header by two allocations.
        let code = CODES[self.code as usize];
        headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(self.message));
    }
}

/// The trailers of a call that went well.
pub(super) fn ok() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    // Nothing is replaced in an empty map, and `append` need not look for that.
    trailers.append(GRPC_STATUS, HeaderValue::from_static("0"));
    trailers
}
