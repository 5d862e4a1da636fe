//! As much of the Thumb instruction set as says where a program goes and how deep its stack gets.

/// What an instruction does to the flow and to the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing of interest.
    None,
    /// The stack grows by so many bytes, or shrinks.
    Sp(i32),
    /// The stack grows by what a register holds, or shrinks.
    SpRegister {
        /// The register.
        register: u8,
        /// Whether it is subtracted from the stack pointer.
        grows: bool,
    },
    /// The stack pointer is set to a register less so many bytes.
    SetSp {
        /// The register.
        register: u8,
        /// Bytes below what it holds.
        below: i32,
    },
    /// A register is set to the stack pointer plus so many bytes.
    CopySp {
        /// The register.
        register: u8,
        /// Bytes above the stack pointer.
        above: i32,
    },
    /// A register is set to another one plus so many bytes.
    Add {
        /// The register.
        to: u8,
        /// The other.
        from: u8,
        /// Bytes.
        amount: i32,
    },
    /// A register's last bits are cleared, which aligns it to so many bytes.
    Align {
        /// The register.
        register: u8,
        /// Bytes.
        bytes: u32,
    },
    /// A register gets a number; the upper half stays where that is asked for.
    Set {
        /// The register.
        register: u8,
        /// The number.
        value: u32,
        /// Whether the number is the upper half only.
        upper: bool,
    },
    /// A register is loaded from an address of the program.
    Literal {
        /// The register.
        register: u8,
        /// The address.
        address: u32,
    },
    /// A call.
    Call(u32),
    /// A call of what a register holds.
    CallRegister,
    /// A jump.
    Jump(u32),
    /// A jump if some condition holds.
    Branch(u32),
    /// A jump to what a register holds, or memory.
    JumpRegister,
    /// A jump by a table that follows.
    JumpTable,
    /// The end of the function, with so many bytes taken from the stack before.
    Return(i32),
    /// The next so many instructions depend on a condition.
    If(u8),
    /// Nothing comes after.
    Stop,
}

/// Length of an instruction in bytes, by its first halfword.
pub(super) fn length(first: u16) -> u32 {
    if first >> 11 >= 0b11101 { 4 } else { 2 }
}

/// What the instruction at an address does.
pub(super) fn decode(address: u32, first: u16, second: u16) -> Effect {
    if length(first) == 2 { short(address, first) } else { long(address, first, second) }
}

/// The low bits of a value as a signed number.
fn signed(value: u32, bits: u32) -> i32 {
    let unused = 32 - bits;
    (value << unused).cast_signed() >> unused
}

fn target(address: u32, offset: i32) -> u32 {
    address.wrapping_add(4).wrapping_add_signed(offset)
}

fn literal(address: u32, offset: u32) -> u32 {
    (address.wrapping_add(4) & !3).wrapping_add(offset)
}

fn short(address: u32, op: u16) -> Effect {
    let bits = u32::from(op);
    let (low, register) = (bits & 0xff, ((op >> 8) & 7) as u8);
    // Operands of those that reach all registers.
    let (to, from) = (((op >> 4) & 8 | op & 7) as u8, ((op >> 3) & 15) as u8);
    match op {
        _ if op & 0xfe00 == 0xb400 => Effect::Sp(4 * (op & 0x1ff).count_ones() as i32),
        _ if op & 0xfe00 == 0xbc00 => {
            let bytes = 4 * (op & 0x1ff).count_ones() as i32;
            if op & 0x100 == 0 { Effect::Sp(-bytes) } else { Effect::Return(bytes) }
        }
        _ if op & 0xff80 == 0xb080 => Effect::Sp(4 * (bits & 0x7f) as i32),
        _ if op & 0xff80 == 0xb000 => Effect::Sp(-4 * (bits & 0x7f) as i32),
        _ if op & 0xf800 == 0xa800 => Effect::CopySp { register, above: 4 * low as i32 },
        _ if op & 0xf800 == 0x2000 => Effect::Set { register, value: low, upper: false },
        _ if op & 0xf800 == 0x4800 => {
            Effect::Literal { register, address: literal(address, 4 * low) }
        }
        _ if op & 0xfc00 == 0x1c00 => {
            let amount = (bits >> 6 & 7) as i32;
            let amount = if op & 0x200 == 0 { amount } else { -amount };
            Effect::Add { to: (op & 7) as u8, from: ((op >> 3) & 7) as u8, amount }
        }
        _ if op & 0xf000 == 0x3000 => {
            let amount = if op & 0x800 == 0 { low as i32 } else { -(low as i32) };
            Effect::Add { to: register, from: register, amount }
        }
        // A shift to the right, with one to the left after it, clears the last bits.
        _ if op & 0xf800 == 0x0800 && (1..9).contains(&(op >> 6 & 31)) => {
            Effect::Align { register: (op & 7) as u8, bytes: 1 << (op >> 6 & 31) }
        }
        _ if op & 0xff00 == 0x4600 => match (to, from) {
            (13, _) => Effect::SetSp { register: from, below: 0 },
            (15, _) => Effect::JumpRegister,
            (_, 13) => Effect::CopySp { register: to, above: 0 },
            _ => Effect::None,
        },
        _ if op & 0xff00 == 0x4400 && to == 13 => {
            Effect::SpRegister { register: from, grows: false }
        }
        _ if op & 0xff80 == 0x4780 => Effect::CallRegister,
        _ if op & 0xff80 == 0x4700 && from == 14 => Effect::Return(0),
        _ if op & 0xff80 == 0x4700 => Effect::JumpRegister,
        _ if op & 0xff00 == 0xde00 => Effect::Stop,
        _ if op & 0xff00 == 0xdf00 => Effect::None,
        _ if op & 0xf000 == 0xd000 => Effect::Branch(target(address, 2 * signed(low, 8))),
        _ if op & 0xf800 == 0xe000 => Effect::Jump(target(address, 2 * signed(bits & 0x7ff, 11))),
        _ if op & 0xf500 == 0xb100 => {
            let offset = (bits >> 9 & 1) << 6 | (bits >> 3 & 31) << 1;
            Effect::Branch(target(address, offset as i32))
        }
        _ if op & 0xff00 == 0xbf00 && op & 15 != 0 => {
            Effect::If(4 - (op & 15).trailing_zeros() as u8)
        }
        _ => Effect::None,
    }
}

fn long(address: u32, first: u16, second: u16) -> Effect {
    let (a, b) = (u32::from(first), u32::from(second));
    let register = (b >> 12 & 15) as u8;
    let destination = (b >> 8 & 15) as u8;
    let source = (a & 15) as u8;
    let (imm8, imm12) = (b & 0xff, (a >> 10 & 1) << 11 | (b >> 12 & 7) << 8 | b & 0xff);
    match first {
        _ if first & 0xf800 == 0xf000 && second & 0x8000 != 0 => branch(address, a, b),
        0xe92d => Effect::Sp(4 * b.count_ones() as i32),
        0xe8bd => {
            let bytes = 4 * b.count_ones() as i32;
            if b & 0x8000 == 0 { Effect::Sp(-bytes) } else { Effect::Return(bytes) }
        }
        0xf84d if second & 0xf00 == 0xd00 => Effect::Sp(imm8 as i32),
        0xf85d if second & 0xf00 == 0xb00 => match register {
            15 => Effect::Return(imm8 as i32),
            _ => Effect::Sp(-(imm8 as i32)),
        },
        0xe96d => Effect::Sp(4 * imm8 as i32),
        0xe8fd => Effect::Sp(-4 * imm8 as i32),
        _ if first & 0xffbf == 0xed2d && second & 0xe00 == 0xa00 => Effect::Sp(4 * imm8 as i32),
        _ if first & 0xffbf == 0xecbd && second & 0xe00 == 0xa00 => Effect::Sp(-4 * imm8 as i32),
        0xebad if destination == 13 => Effect::SpRegister { register: (b & 15) as u8, grows: true },
        // Additions and subtractions, with a constant in 12 bits or one that is expanded from them.
        _ if first & 0xfbe0 == 0xf1a0 && second & 0x8000 == 0 => {
            add(destination, source, (expand(imm12) as i32).wrapping_neg())
        }
        _ if first & 0xfbf0 == 0xf2a0 && second & 0x8000 == 0 => {
            add(destination, source, -(imm12 as i32))
        }
        _ if first & 0xfbe0 == 0xf100 && second & 0x8000 == 0 => {
            add(destination, source, expand(imm12) as i32)
        }
        _ if first & 0xfbf0 == 0xf200 && second & 0x8000 == 0 => {
            add(destination, source, imm12 as i32)
        }
        _ if first & 0xfbf0 == 0xf240 || first & 0xfbf0 == 0xf2c0 => {
            let value = (a & 15) << 12 | imm12;
            Effect::Set { register: destination, value, upper: first & 0xfbf0 == 0xf2c0 }
        }
        0xf36f if b >> 12 & 7 == 0 && b >> 6 & 3 == 0 => {
            Effect::Align { register: destination, bytes: 2 << (b & 31) }
        }
        0xf8df if register != 15 => {
            Effect::Literal { register, address: literal(address, b & 0xfff) }
        }
        _ if first & 0xfff0 == 0xe8d0 && second & 0xffe0 == 0xf000 => Effect::JumpTable,
        // Loads of the program counter.
        _ if first & 0xff70 == 0xf850 && register == 15 => Effect::JumpRegister,
        _ => Effect::None,
    }
}

fn branch(address: u32, a: u32, b: u32) -> Effect {
    let (sign, j1, j2) = (a >> 10 & 1, b >> 13 & 1, b >> 11 & 1);
    let low = (b & 0x7ff) << 1;
    let far = || {
        let (i1, i2) = (!(j1 ^ sign) & 1, !(j2 ^ sign) & 1);
        let offset = sign << 24 | i1 << 23 | i2 << 22 | (a & 0x3ff) << 12 | low;
        target(address, signed(offset, 25))
    };
    match b & 0xd000 {
        0xd000 => Effect::Call(far()),
        0x9000 => Effect::Jump(far()),
        // Conditions 14 and 15 are other instructions.
        0x8000 if a >> 6 & 15 < 14 => {
            let offset = sign << 20 | j2 << 19 | j1 << 18 | (a & 0x3f) << 12 | low;
            Effect::Branch(target(address, signed(offset, 21)))
        }
        // `udf.w`.
        0xa000 if a & 0xfff0 == 0xf7f0 => Effect::Stop,
        _ => Effect::None,
    }
}

/// `to = from + amount`.
fn add(to: u8, from: u8, amount: i32) -> Effect {
    match (to, from) {
        (13, 13) => Effect::Sp(amount.wrapping_neg()),
        (13, register) => Effect::SetSp { register, below: amount.wrapping_neg() },
        (register, 13) => Effect::CopySp { register, above: amount },
        (to, from) => Effect::Add { to, from, amount },
    }
}

/// A constant in the twelve bits of an instruction.
fn expand(imm12: u32) -> u32 {
    let byte = imm12 & 0xff;
    match imm12 >> 8 {
        0 => byte,
        1 => byte << 16 | byte,
        2 => byte << 24 | byte << 8,
        3 => byte << 24 | byte << 16 | byte << 8 | byte,
        _ => (0x80 | imm12 & 0x7f).rotate_right(imm12 >> 7),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against a disassembler.
    #[test]
    fn instructions_do_what_they_say() {
        let cases: [(u16, u16, Effect); 37] = [
            (0xb5f0, 0, Effect::Sp(20)),     // push {r4-r7, lr}
            (0xbdf0, 0, Effect::Return(20)), // pop {r4-r7, pc}
            (0xbc03, 0, Effect::Sp(-8)),     // pop {r0, r1}
            (0xb086, 0, Effect::Sp(24)),     // sub sp, #24
            (0xb006, 0, Effect::Sp(-24)),    // add sp, #24
            (0xaf03, 0, Effect::CopySp { register: 7, above: 12 }), // add r7, sp, #12
            (0x466f, 0, Effect::CopySp { register: 7, above: 0 }), // mov r7, sp
            (0x46a5, 0, Effect::SetSp { register: 4, below: 0 }), // mov sp, r4
            (0x44b5, 0, Effect::SpRegister { register: 6, grows: false }), // add sp, r6
            (0x4770, 0, Effect::Return(0)),  // bx lr
            (0x4718, 0, Effect::JumpRegister), // bx r3
            (0x4798, 0, Effect::CallRegister), // blx r3
            (0xd0fe, 0, Effect::Branch(0x1000)), // beq .
            (0xe7fe, 0, Effect::Jump(0x1000)), // b .
            (0xb148, 0, Effect::Branch(0x1016)), // cbz r0, +18
            (0xdefe, 0, Effect::Stop),       // udf
            (0xbf08, 0, Effect::If(1)),      // it eq
            (0xbf00, 0, Effect::None),       // nop
            (0x4a01, 0, Effect::Literal { register: 2, address: 0x1008 }), // ldr r2, [pc, #4]
            (0xe92d, 0x0f00, Effect::Sp(16)), // push.w {r8-r11}
            (0xe8bd, 0x8f00, Effect::Return(20)), // pop.w {r8-r11, pc}
            (0xf84d, 0xbd04, Effect::Sp(4)), // str r11, [sp, #-4]!
            (0xf85d, 0xbb04, Effect::Sp(-4)), // ldr r11, [sp], #4
            (0xf85d, 0xfb04, Effect::Return(4)), // ldr pc, [sp], #4
            (0xed2d, 0x8b04, Effect::Sp(16)), // vpush {d8, d9}
            (0xecbd, 0x8b04, Effect::Sp(-16)), // vpop {d8, d9}
            (0xf5ad, 0x5d80, Effect::Sp(4096)), // sub.w sp, sp, #4096
            (0xf50d, 0x7d04, Effect::Sp(-528)), // add.w sp, sp, #528
            (0xf1a7, 0x0d18, Effect::SetSp { register: 7, below: 24 }), // sub.w sp, r7, #24
            (0xf7ff, 0xfffe, Effect::Call(0x1000)), // bl .
            (0xf7ff, 0xbffe, Effect::Jump(0x1000)), // b.w .
            (0xf43f, 0xaffe, Effect::Branch(0x1000)), // beq.w .
            (0xf36f, 0x0403, Effect::Align { register: 4, bytes: 16 }), // bfc r4, #0, #4
            (0x1ffe, 0, Effect::Add { to: 6, from: 7, amount: -7 }), // subs r6, r7, #7
            (0x3e05, 0, Effect::Add { to: 6, from: 6, amount: -5 }), // subs r6, #5
            (0xf1a7, 0x0418, Effect::Add { to: 4, from: 7, amount: -24 }), // sub.w r4, r7, #24
            (0xe8df, 0xf000, Effect::JumpTable), // tbb [pc, r0]
        ];
        for (first, second, effect) in cases {
            assert_eq!(decode(0x1000, first, second), effect, "{first:04x} {second:04x}");
        }
        // movw r0, #0x1234; movt r0, #0x2000
        let set = |value, upper| Effect::Set { register: 0, value, upper };
        assert_eq!(decode(0, 0xf241, 0x2034), set(0x1234, false));
        assert_eq!(decode(0, 0xf2c2, 0x0000), set(0x2000, true));
        // dsb sy is no branch.
        assert_eq!(decode(0, 0xf3bf, 0x8f4f), Effect::None);
    }

    #[test]
    fn distances_have_their_signs() {
        assert_eq!(decode(0x1000, 0xf000, 0xf800), Effect::Call(0x1004));
        assert_eq!(decode(0x8000, 0xf7ff, 0xff7e), Effect::Call(0x7f00));
        assert_eq!(decode(0x1000, 0xd17f, 0), Effect::Branch(0x1102));
        assert_eq!(decode(0x1000, 0xe3ff, 0), Effect::Jump(0x1802));
    }
}
