//! The project's own commands: demo, test, lab.

fn main() {}
