//! A recorder of log events.

use std::{
    io::{BufRead, BufReader, Lines, PipeReader, PipeWriter, Write, pipe},
    sync::Arc,
};

use tracing::subscriber::{DefaultGuard, set_default};

/// What this thread logs.
pub struct Log {
    writer: Arc<PipeWriter>,
    lines: Lines<BufReader<PipeReader>>,
}

impl Log {
    pub fn start() -> (Self, DefaultGuard) {
        let (reader, writer) = pipe().expect("a pipe");
        let (lines, writer) = (BufReader::new(reader).lines(), Arc::new(writer));
        let subscriber = tracing_subscriber::fmt().without_time();
        let subscriber = subscriber.with_writer(writer.clone()).finish();
        (Self { writer, lines }, set_default(subscriber))
    }

    /// Asserts that each line since the last call has its level and its text.
    pub fn assert_lines(&mut self, expected: &[(&str, &str)]) {
        writeln!(&*self.writer, "end").expect("it is read here");
        let lines = self.lines.by_ref().map(|line| line.expect("text"));
        let lines: Vec<_> = lines.take_while(|line| line != "end").collect();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, (level, part)) in lines.iter().zip(expected) {
            assert!(line.trim_start().starts_with(level), "{line}");
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
