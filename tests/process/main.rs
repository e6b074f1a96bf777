//! What is set for the whole process, such as the panic hook.

mod panic_locations;
