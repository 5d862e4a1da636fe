//! Hard faults end the program with an exit status of their own.

picovit_fault::hard_fault!(super::stop);

fn stop() -> ! {
    crate::host::exit(3)
}
