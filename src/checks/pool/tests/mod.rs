//! The judge's table, and runs on a pool in memory, without a server.

// In the order of their imports.
mod judge;

mod in_memory_pool;

mod runs;
