//! Clients that cost little themselves: sixteen requests at a time, then all their answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use tokio::{runtime, task::JoinSet};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const AT_ONCE: usize = 16;

pub(super) trait Client: Send {
    /// Asks, waits for all answers and says how many they were.
    fn ask(&mut self) -> usize;
}

pub(super) fn http(address: SocketAddr, request: &'static [u8]) -> Box<dyn Client> {
    let streams = (0..AT_ONCE).map(|_| {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_nodelay(true).expect("a socket");
        stream
    });
    let mut client = Http {
        streams: streams.collect(),
        request,
        length: 0,
    };
    client.learn();
    Box::new(client)
}

struct Http {
    streams: Vec<TcpStream>,
    request: &'static [u8],
    /// Of an answer: each is as long as the first.
    length: usize,
}

impl Http {
    fn learn(&mut self) {
        let stream = &mut self.streams[0];
        stream.write_all(self.request).expect("sends");
        let mut answer = Vec::new();
        let mut buffer = [0; 1_024];
        while self.length == 0 || answer.len() < self.length {
            let read = stream.read(&mut buffer).expect("answers");
            assert!(read > 0, "the server closes");
            answer.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&answer);
            if let Some(head) = text.find("\r\n\r\n") {
                assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
                let body = text
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
                self.length = head + 4 + body.expect("a length");
            }
        }
    }
}

impl Client for Http {
    fn ask(&mut self) -> usize {
        for stream in &mut self.streams {
            stream.write_all(self.request).expect("sends");
        }
        let mut buffer = [0; 4_096];
        for stream in &mut self.streams {
            let answer = &mut buffer[..self.length];
            stream.read_exact(answer).expect("answers");
        }
        AT_ONCE
    }
}

pub(super) fn grpc(address: SocketAddr) -> Box<dyn Client> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = runtime.block_on(endpoint.connect()).expect("connects");
    Box::new(Grpc {
        runtime,
        client: HealthClient::new(channel),
    })
}

struct Grpc {
    runtime: runtime::Runtime,
    client: HealthClient<Channel>,
}

impl Client for Grpc {
    fn ask(&mut self) -> usize {
        self.runtime.block_on(async {
            let mut calls = JoinSet::new();
            for _ in 0..AT_ONCE {
                let mut client = self.client.clone();
                calls.spawn(async move { client.check(HealthCheckRequest::default()).await });
            }
            while let Some(answer) = calls.join_next().await {
                answer.expect("does not panic").expect("answers");
            }
        });
        AT_ONCE
    }
}
