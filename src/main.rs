//! Chooses the face that the binary shows, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).map(String::as_str) == Some(bootes::layer::container::CONTAINER_INIT_ARG) {
        bootes::layer::container::container_main();
    }
    if arguments.get(1).map(String::as_str) == Some(bootes::module::guard::GUARD_ARG) {
        return bootes::module::guard::main(arguments.get(2..).unwrap_or_default());
    }
    if bootes::agent::init::is_called(&arguments) {
        bootes::agent::init::main(&arguments);
    }
    bootes::cli::run(std::env::args_os(), bootes::serve::run)
}
