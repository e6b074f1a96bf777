//! What the protocol fixes: the paths of the calls, and the codec of the messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// Whether `path` is that of one of the three calls.
pub(crate) fn is_call(path: &str) -> bool {
    let method = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE));
    matches!(method, Some("/Check" | "/Watch" | "/List"))
}

/// The codec of the generated service: that of prost, with small buffers.
// An open watch keeps its buffers: 8 KiB by default, for a status of 7 bytes.
#[derive(Debug)]
pub(super) struct SmallCodec<T, U>(PhantomData<(T, U)>);

fn buffers() -> BufferSettings {
    BufferSettings::new(64, 32 * 1024)
}

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(buffers())
    }
}

#[cfg(test)]
mod tests {
    use super::is_call;

    #[test]
    fn exactly_three_paths_are_calls() {
        for method in ["Check", "Watch", "List"] {
            assert!(is_call(&format!("/grpc.health.v1.Health/{method}")));
        }
        for path in [
            "",
            "/",
            "/grpc.health.v1.Health",
            "/grpc.health.v1.Health/",
            "/grpc.health.v1.Health/check",
            "/grpc.health.v1.Health/Check/",
            "/grpc.health.v1.Health/Cheque",
            "grpc.health.v1.Health/Check",
            "//grpc.health.v1.Health/Check",
            "/grpc.health.v2.Health/Check",
        ] {
            assert!(!is_call(path), "{path:?}");
        }
    }
}
