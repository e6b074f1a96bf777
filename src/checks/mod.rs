//! Ready-made checks on the app's own pools and workers.
