//! Ready-made checks on the app's own pools and workers.

mod heartbeat;

pub use self::heartbeat::Heartbeat;
