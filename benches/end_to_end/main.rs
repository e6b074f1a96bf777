//! Over loopback sockets: what a request costs each kind of server.
//!
//! Every server runs all the time. Clients send to one after the other, for a slice of time each, in many
//! rounds. The CPU time of the server's threads counts, since the machine has other work. The table also has
//! requests per second. Linux alone: the times are read from `/proc`.
//!
//! `cargo bench --bench end_to_end --features grpc,hyper [-- --plot FILE]`

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod servers;
mod short_timeout;

use std::{env, fs, time::Duration};

use clients::{Client, grpc, http};
use servers::{Server, all};
use support::{plot::Bars, statistics::Spread};
use tokio::time::Instant;

const ROUNDS: usize = 15;
const SLICE: Duration = Duration::from_millis(100);

/// What was measured of a server in each round.
#[derive(Default)]
struct Measured {
    /// Microseconds of CPU time a request.
    cpu: Vec<f64>,
    rate: Vec<f64>,
}

fn main() {
    let mut plot = Bars::new(
        "CPU time of the server for a request over loopback, one thread",
        "µs",
    );
    for (threads, callers) in [(1, 1), (4, 2)] {
        let (servers, measured) = measure(threads, callers);
        print(threads, &servers, &measured);
        if threads == 1 {
            for (server, measured) in servers.iter().zip(&measured) {
                let cpu = Spread::of(measured.cpu.iter().copied());
                plot.add(server.name, cpu.median, server.is_ours);
            }
        }
    }
    short_timeout::compare();
    if let Some(file) = env::args().skip_while(|word| word != "--plot").nth(1) {
        fs::write(file, plot.draw()).expect("the plot's place can be written");
    }
}

fn measure(threads: usize, callers: usize) -> (Vec<Server>, Vec<Measured>) {
    let servers = all(threads);
    let mut clients: Vec<Vec<Box<dyn Client>>> = servers
        .iter()
        .map(|server| {
            (0..callers)
                .map(|_| match server.request {
                    Some(request) => http(server.address, request),
                    None => grpc(server.address),
                })
                .collect()
        })
        .collect();
    let mut measured: Vec<Measured> = servers.iter().map(|_| Measured::default()).collect();
    for round in 0..=ROUNDS {
        for ((server, clients), measured) in servers.iter().zip(&mut clients).zip(&mut measured) {
            let (cpu, start) = (server.cpu(), Instant::now());
            let requests: usize = std::thread::scope(|scope| {
                let senders: Vec<_> = clients
                    .iter_mut()
                    .map(|client| scope.spawn(move || ask_for(&mut **client, SLICE)))
                    .collect();
                let sent = senders.into_iter().map(|thread| thread.join());
                sent.map(|requests| requests.expect("the client sends"))
                    .sum()
            });
            let (cpu, time) = (server.cpu() - cpu, start.elapsed());
            // The first round warms up.
            if round > 0 {
                measured.cpu.push(cpu.as_secs_f64() * 1e6 / requests as f64);
                measured.rate.push(requests as f64 / time.as_secs_f64());
            }
        }
    }
    (servers, measured)
}

fn ask_for(client: &mut dyn Client, slice: Duration) -> usize {
    let start = Instant::now();
    let mut requests = 0;
    while start.elapsed() < slice {
        requests += client.ask();
    }
    requests
}

fn print(threads: usize, servers: &[Server], measured: &[Measured]) {
    println!(
        "\n| {threads} thread{} | CPU a request, µs | over the constant by hand | requests a second |",
        if threads == 1 { "" } else { "s" }
    );
    println!("|---|---:|---:|---:|");
    for (server, own) in servers.iter().zip(measured) {
        println!(
            "| {} | {:.2} | {:.2} | {:.0} |",
            server.name,
            Spread::of(own.cpu.iter().copied()),
            Spread::of_ratios(&own.cpu, &measured[0].cpu),
            Spread::of(own.rate.iter().copied()).median,
        );
    }
}
