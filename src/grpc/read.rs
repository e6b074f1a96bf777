//! Reads the one message of a call.

use std::{
    mem,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};

use super::{
    asked::{Asked, Lost},
    message::PREFIX,
    status::Refusal,
};

/// More is refused before it is read: a name has 200 bytes at most, the rest is for fields to come.
const MAX_MESSAGE: usize = 64 * 1024;

/// A call's message on its way.
pub(super) struct Reading {
    body: Asked,
    /// What has come of it.
    read: Bytes,
    /// Why a compressed message is refused.
    compressed: Refusal,
}

impl Reading {
    /// `compresses`: the sender said how its messages may be compressed.
    pub(super) const fn new(body: Asked, compresses: bool) -> Self {
        Self {
            body,
            read: Bytes::new(),
            compressed: if compresses {
                Refusal::ENCODING
            } else {
                Refusal::FLAG
            },
        }
    }

    /// The message, without its frame. Waits for no end of stream: one message is all there is to say.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            if let Some(length) = self.length()?
                && self.read.len() >= PREFIX + length
            {
                return Poll::Ready(self.finish(length, cx));
            }
            match ready!(self.body.poll_chunk(cx)) {
                Some(Ok(chunk)) => self.append(chunk),
                Some(Err(Lost)) => return Poll::Ready(Err(Refusal::CANCELLED)),
                None if self.read.is_empty() => return Poll::Ready(Err(Refusal::NO_MESSAGE)),
                None => return Poll::Ready(Err(Refusal::TRUNCATED)),
            }
        }
    }

    /// A second message is looked for where it can be seen already; nothing is awaited.
    fn finish(&mut self, length: usize, cx: &mut Context<'_>) -> Result<Bytes, Refusal> {
        let mut message = self.read.split_to(PREFIX + length);
        message.advance(PREFIX);
        while self.read.is_empty() {
            match self.body.poll_chunk(cx) {
                Poll::Ready(Some(Ok(chunk))) => self.read = chunk,
                Poll::Ready(Some(Err(Lost))) => return Err(Refusal::CANCELLED),
                Poll::Ready(None) | Poll::Pending => return Ok(message),
            }
        }
        Err(Refusal::TWO_MESSAGES)
    }

    /// What the prefix says, once it is there.
    fn length(&self) -> Result<Option<usize>, Refusal> {
        // The flag comes first: what is wrong already need not wait for the rest.
        match self.read.first() {
            None | Some(0) => {}
            Some(1) => return Err(self.compressed),
            Some(_) => return Err(Refusal::FLAG),
        }
        let Some([_, length @ ..]) = self.read.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(Refusal::TOO_LARGE);
        }
        Ok(Some(length))
    }

    fn append(&mut self, chunk: Bytes) {
        if self.read.is_empty() {
            // Nearly always the whole.
            self.read = chunk;
            return;
        }
        // Grown in place: a sender of single bytes would make copies of the whole quadratic.
        let mut whole = mem::take(&mut self.read)
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        whole.extend_from_slice(&chunk);
        self.read = whole.freeze();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use bytes::Bytes;
    use http::HeaderMap;
    use http_body::{Body, Frame};

    use super::{Asked, MAX_MESSAGE, Reading};

    /// Chunks as they come in; never ends where the last one is `None`.
    struct Script(VecDeque<Option<&'static [u8]>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(chunk)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk))))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        const OK: &str = "ok";
        let table: [(&[Option<&'static [u8]>], &str); 16] = [
            (&[Some(b"\0\0\0\0\x02ab")], OK),
            (&[Some(b"\0\0\0\0\x02ab"), None], OK),
            (&[Some(b"\0\0"), Some(b"\0\0\x02a"), Some(b"b")], OK),
            (&[Some(b""), Some(b"\0\0\0\0\x02ab"), Some(b"")], OK),
            (&[Some(b"\0\0\0\0\0")], OK),
            (&[], "13"),
            (&[Some(b"")], "13"),
            (&[Some(b"\0\0\0")], "13"),
            (&[Some(b"\0\0\0\0\x02a")], "13"),
            (&[Some(b"\x01\0\0\0\x02ab")], "13"),
            (&[Some(b"\x02"), None], "13"),
            (&[Some(b"\0\0\0\0\x02ab\0\0\0\0\0")], "13"),
            (&[Some(b"\0\0\0\0\x02ab"), Some(b"\0")], "13"),
            (&[Some(b"\0\0\x01\0\x01"), None], "8"),
            (&[Some(b"\0\xff\xff\xff\xff"), None], "8"),
            (&[Some(b"\0\0\0\0\x02a"), None], "pending"),
        ];
        for (chunks, expected) in table {
            let mut reading =
                Reading::new(Asked::any(Script(chunks.iter().copied().collect())), false);
            let found = match reading.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => "pending".to_owned(),
                Poll::Ready(Ok(_)) => OK.to_owned(),
                Poll::Ready(Err(refusal)) => {
                    let response = refusal.response(HeaderMap::new());
                    let status = &response.headers()["grpc-status"];
                    status.to_str().expect("ascii").to_owned()
                }
            };
            assert_eq!(found, expected, "{chunks:?}");
        }
    }

    #[test]
    fn the_largest_message_is_read() {
        let mut frame = vec![0; 5 + MAX_MESSAGE];
        frame[1..5].copy_from_slice(&(MAX_MESSAGE as u32).to_be_bytes());
        let mut reading = Reading::new(
            Asked::any(http_body_util::Full::<Bytes>::from(frame)),
            false,
        );
        let read = reading.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(read, Poll::Ready(Ok(message)) if message.len() == MAX_MESSAGE));
    }
}
