//! Whatever comes, and however it is cut: the same answer, and no panic.

use std::{
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::{collection::vec, prelude::*};

use super::{asked::Asked, read::Reading};

/// The message, or the refusal's words.
fn outcome(chunks: Vec<Bytes>, compresses: bool) -> Result<Bytes, String> {
    let frames = chunks
        .into_iter()
        .map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let body = StreamBody::new(tokio_stream::iter(frames));
    let mut reading = Reading::new(Asked::any(body), compresses);
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read.map_err(|refusal| format!("{refusal:?}")),
        Poll::Pending => unreachable!("the body has ended"),
    }
}

/// Bytes of which many begin as a frame does.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let framed = (0_u8..3, 0_u32..20, vec(any::<u8>(), 0..20)).prop_map(|(flag, length, rest)| {
        let mut frame = vec![flag];
        frame.extend(length.to_be_bytes());
        frame.extend(rest);
        frame
    });
    prop_oneof![framed, vec(any::<u8>(), 0..20)]
}

proptest! {
    #[test]
    fn a_message_is_the_same_however_it_is_cut(
        bytes in bytes(),
        cuts in vec(0_usize..30, 0..6),
        compresses in any::<bool>(),
    ) {
        let whole = Bytes::from(bytes);
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut <= whole.len()).collect();
        cuts.sort_unstable();
        cuts.push(whole.len());
        let mut from = 0;
        let chunks = cuts.iter().map(|cut| whole.slice(std::mem::replace(&mut from, *cut)..*cut));
        let found = outcome(chunks.collect(), compresses);
        prop_assert_eq!(&found, &outcome(vec![whole.clone()], compresses));
        if let Ok(message) = found {
            prop_assert_eq!(message.len() + 5, whole.len());
            prop_assert_eq!(&message, &whole.slice(5..));
        }
    }
}
