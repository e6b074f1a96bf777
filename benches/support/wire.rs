//! A whole HTTP/1.1 connection of hyper without a socket: only user code is measured.

use std::{
    cell::RefCell,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, ReadBufCursor, Write},
    server::conn::http1,
    service::Service,
};

/// A client that sends the same request over and over, and waits for the answer in between.
struct Client {
    request: &'static [u8],
    waits: bool,
    received: Rc<RefCell<Vec<u8>>>,
}

impl Read for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = !self.waits;
        if self.waits {
            return Poll::Pending;
        }
        self.received.borrow_mut().clear();
        buffer.put_slice(self.request);
        Poll::Ready(Ok(()))
    }
}

/// The end of the server: it reads what a client sends, and its writes are received.
pub struct Socket<R> {
    pub client: R,
    pub received: Rc<RefCell<Vec<u8>>>,
    /// As a TCP socket is.
    pub is_vectored: bool,
}

impl<R: Read + Unpin> Read for Socket<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.client).poll_read(cx, buffer)
    }
}

impl<R: Unpin> Write for Socket<R> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.received.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut received = self.received.borrow_mut();
        let before = received.len();
        for buffer in buffers {
            received.extend_from_slice(buffer);
        }
        Poll::Ready(Ok(received.len() - before))
    }
}

/// The side of the server.
pub struct Connection {
    served: Pin<Box<dyn Future<Output = ()>>>,
    received: Rc<RefCell<Vec<u8>>>,
}

impl Connection {
    /// A connection that `service` serves, and on which a client sends `request` each time.
    pub fn new<S, B>(service: S, request: &'static [u8]) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: Body + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let received = Rc::new(RefCell::new(Vec::with_capacity(4_096)));
        let client = Client {
            request,
            waits: true,
            received: received.clone(),
        };
        let socket = Socket {
            client,
            received: received.clone(),
            is_vectored: true,
        };
        let served = http1::Builder::new().serve_connection(socket, service);
        Self {
            served: Box::pin(async move {
                let _ = served.await;
            }),
            received,
        }
    }

    /// One request, from its first byte to the wait for the next one.
    pub fn serve_one(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let ended = self.served.as_mut().poll(&mut cx).is_ready();
        assert!(!ended, "the client continues");
    }

    /// The last answer as the client received it, without the header with the time.
    pub fn answer(&self) -> String {
        let text = String::from_utf8_lossy(&self.received.borrow()).into_owned();
        let lines = text.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with("date:")).collect()
    }
}
