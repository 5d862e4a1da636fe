//! Hard faults: in all likelihood the stack ran over its end.
#![no_std]

pub use cortex_m_rt::ExceptionFrame;

/// Defines the handler of hard faults, a module `hard_fault`: it logs what happened with `defmt` and calls
/// a function that does not come back. The memory map has the stack between `_stack_end` and
/// `_stack_start`.
#[macro_export]
macro_rules! hard_fault {
    ($stop:path) => {
        #[allow(unsafe_code, reason = "the handler has to begin without a stack")]
        mod hard_fault {
            use core::arch::global_asm;

            use $crate::ExceptionFrame;

            /// The Configurable Fault Status Register; 0 on Cortex-M0+, which has none.
            const STATUS: *const u32 = 0xe000_ed28 as *const u32;

            /// Bits of it that say that the stack has no room: `STKOF` where the processor knows its
            /// limit, `STKERR` where there is no memory below it.
            const NO_STACK: u32 = 1 << 20 | 1 << 12;

            // Where the stack is full, the handler begins at its start again: what is there is lost
            // anyway. The frame that the processor saved is at the end of it. The stack of a second
            // core lies above; if that is full, the core stops here, and the first says so.
            global_asm!(
                ".section .HardFault.user, \"ax\", %progbits",
                ".global HardFault",
                ".type HardFault, %function",
                ".thumb_func",
                "HardFault:",
                "mov r0, sp",
                "ldr r1, =_stack_end",
                "ldr r2, =512",
                "adds r1, r1, r2",
                "cmp r0, r1",
                "bhi 1f",
                "ldr r1, =_stack_start",
                "mov sp, r1",
                "1:",
                "ldr r1, ={fault}",
                "bx r1",
                ".pool",
                fault = sym fault,
            );

            /// Says what happened.
            extern "C" fn fault(frame: *const ExceptionFrame) -> ! {
                // SAFETY: the register may be read at any time.
                let status = unsafe { STATUS.read_volatile() };
                if status & NO_STACK != 0 {
                    defmt::error!("hard fault: the stack ran over its end");
                } else {
                    // SAFETY: the processor has put the frame there, unless the stack had no room.
                    let (at, from) = unsafe { ((*frame).pc(), (*frame).lr()) };
                    defmt::error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", at, from);
                }
                $stop()
            }
        }
    };
}
