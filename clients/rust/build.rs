//! Generates the contract from `proto/`: parsed by protox, written by tonic.

use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut protos = Vec::new();
    for entry in fs::read_dir("proto/aster/v1")? {
        let path = Path::new("aster/v1").join(entry?.file_name());
        if path.extension().is_some_and(|suffix| suffix == "proto") {
            println!("cargo:rerun-if-changed=proto/{}", path.display());
            protos.push(path);
        }
    }
    protos.sort();
    let files = protox::compile(protos, ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        // The same message in an RPC's trailers and inside an event: one type, with its readers.
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(files)?;
    Ok(())
}
