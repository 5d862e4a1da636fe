//! What a function calls, and how deep its stack is there.

use std::collections::BTreeMap;

use super::thumb::{Effect, decode, length};

/// A function's code: halfwords at addresses; there may be data in between.
pub(super) struct Code<'a> {
    /// Where it begins.
    pub start: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Whether an address holds data.
    pub is_data: &'a dyn Fn(u32) -> bool,
    /// Whether an address is that of a function that does not come back.
    pub is_end: &'a dyn Fn(u32) -> bool,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To an address.
    Address(u32),
    /// To what a register holds.
    Unknown,
}

/// A call, or a jump out of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// Address of the instruction.
    pub at: u32,
    /// Bytes of stack that the function holds there.
    pub depth: u32,
    /// Where it goes.
    pub target: Target,
}

/// What is known about a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Most bytes of stack that it holds itself.
    pub depth: u32,
    /// What it calls.
    pub calls: Vec<Call>,
    /// Jumps and branches in it, from where and to where.
    pub jumps: Vec<(u32, u32)>,
    /// Addresses behind instructions that the flow does not go beyond.
    pub ends: Vec<u32>,
    /// Numbers in its code that may be addresses of functions, but not those for a panic only.
    pub numbers: Vec<u32>,
    /// Where the stack pointer becomes something that cannot be known.
    pub lost: Option<u32>,
}

/// More than any frame has.
const MOST: i32 = 1 << 20;

/// Goes through a function from its first to its last instruction. Where code is reached that no branch
/// seen so far leads to, the stack is taken to be as deep as it was anywhere before: too deep at worst.
pub(super) fn scan(code: &Code<'_>) -> Scan {
    let end = code.start + code.bytes.len() as u32;
    let half = |address: u32| {
        let at = address.wrapping_sub(code.start) as usize;
        code.bytes.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let inside = |target: u32| (code.start..end).contains(&target);
    // Nothing comes but what fills up, `nop` by either name, and data.
    let ends = |from: u32| {
        let rest = (from..end).step_by(2);
        rest.filter(|&at| !(code.is_data)(at)).all(|at| matches!(half(at), 0xbf00 | 0x46c0))
    };
    let mut scan = Scan::default();
    let mut depth = Some(0_i32);
    let mut deepest = 0_i32;
    let mut labels: BTreeMap<u32, i32> = BTreeMap::new();
    let mut registers = [Register::default(); 16];
    let mut conditional = 0_u8;
    // Numbers before these were there when the flow last could go elsewhere.
    let mut settled = 0;
    let mut address = code.start;
    while address < end {
        if (code.is_data)(address) {
            address += 2;
            continue;
        }
        let at = address;
        let effect = decode(at, half(at), half(at + 2));
        address += length(half(at));
        let known = labels.get(&at).copied();
        if depth.is_none() && known.is_none() && ends(at) {
            break;
        }
        let mut now = match (depth, known) {
            (Some(flowing), Some(label)) => flowing.max(label),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => deepest,
        };
        let is_conditional = conditional > 0;
        conditional = conditional.saturating_sub(1);
        let mut goes_on = true;
        let mut leave = |depth: i32, target: Target| {
            scan.calls.push(Call { at, depth: depth.max(0) as u32, target });
        };
        match effect {
            Effect::None => {}
            Effect::Sp(bytes) => now += bytes,
            Effect::SpRegister { register, grows } => {
                let value = registers[usize::from(register)].value.map(u32::cast_signed);
                // No frame is that large.
                match value.filter(|value| (-MOST..MOST).contains(value)) {
                    Some(value) => now += if grows { value } else { -value },
                    None => scan.lost = scan.lost.or(Some(at)),
                }
            }
            Effect::SetSp { register, below } => {
                let Register { sp, align, .. } = registers[usize::from(register)];
                let sp = sp.map(|sp| sp.wrapping_add(below).wrapping_add(align));
                match sp.filter(|sp| (-MOST..MOST).contains(sp)) {
                    Some(sp) => now = sp,
                    None => scan.lost = scan.lost.or(Some(at)),
                }
            }
            Effect::CopySp { register, above } => {
                registers[usize::from(register)] =
                    Register { sp: Some(now - above), ..Register::default() };
            }
            Effect::Add { to, from, amount } => {
                let Register { value, sp, align } = registers[usize::from(from)];
                let value = value.map(|value| value.wrapping_add_signed(amount));
                let sp = sp.map(|sp| sp.wrapping_sub(amount));
                registers[usize::from(to)] = Register { value, sp, align };
            }
            Effect::Align { register, bytes } => {
                registers[usize::from(register)].align = bytes as i32 - 1;
            }
            Effect::Set { register, value, upper } => {
                let register = &mut registers[usize::from(register)];
                let lower = register.value.unwrap_or(0) & 0xffff;
                let value = if upper { value << 16 | lower } else { value };
                *register = Register { value: Some(value), ..*register };
                scan.numbers.push(value);
            }
            Effect::Literal { register, address } => {
                let value = u32::from(half(address)) | u32::from(half(address + 2)) << 16;
                let value = inside(address).then_some(value);
                registers[usize::from(register)].value = value;
                scan.numbers.extend(value);
            }
            Effect::Call(target) => {
                leave(now, Target::Address(target));
                if (code.is_end)(target) && !is_conditional {
                    scan.numbers.truncate(settled);
                    scan.ends.push(address);
                }
                // A function may end with a call that does not come back.
                goes_on = !ends(address);
            }
            Effect::CallRegister => {
                leave(now, Target::Unknown);
                goes_on = !ends(address);
            }
            Effect::Jump(target) | Effect::Branch(target) => {
                if inside(target) {
                    let label = labels.entry(target).or_insert(now);
                    *label = now.max(*label);
                    scan.jumps.push((at, target));
                } else {
                    leave(now, Target::Address(target));
                }
                goes_on = matches!(effect, Effect::Branch(_)) || is_conditional;
            }
            Effect::JumpRegister => {
                leave(now, Target::Unknown);
                goes_on = is_conditional;
            }
            Effect::If(count) => conditional = count,
            Effect::JumpTable | Effect::Return(_) | Effect::Stop => goes_on = is_conditional,
        }
        if moves(effect) {
            settled = scan.numbers.len();
        }
        deepest = deepest.max(now);
        if !goes_on {
            scan.ends.push(address);
        }
        depth = goes_on.then_some(now);
    }
    if depth.is_some() {
        // Runs into what comes after.
        let depth = depth.unwrap_or(0).max(0) as u32;
        scan.calls.push(Call { at: end, depth, target: Target::Address(end) });
    }
    scan.depth = deepest as u32;
    scan
}

/// Whether the flow may go elsewhere.
fn moves(effect: Effect) -> bool {
    matches!(
        effect,
        Effect::Call(_)
            | Effect::CallRegister
            | Effect::Jump(_)
            | Effect::Branch(_)
            | Effect::JumpRegister
            | Effect::JumpTable
            | Effect::Return(_)
            | Effect::If(_)
            | Effect::Stop
    )
}

/// What is known about a register.
#[derive(Clone, Copy, Default)]
struct Register {
    /// A number.
    value: Option<u32>,
    /// The stack pointer where the stack was so deep.
    sp: Option<i32>,
    /// Bytes that aligning may have taken from it.
    align: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(halfwords: &[u16]) -> Scan {
        let bytes: Vec<u8> = halfwords.iter().flat_map(|half| half.to_le_bytes()).collect();
        scan(&Code {
            start: 0x1000,
            bytes: &bytes,
            is_data: &|_| false,
            is_end: &|target| target == 0x3000,
        })
    }

    #[test]
    fn calls_know_their_depth() {
        // push {r7, lr}; mov r7, sp; sub sp, #24; bl 0x2000; add sp, #24; pop {r7, pc}
        let scan = of(&[0xb580, 0x466f, 0xb086, 0xf000, 0xfffb, 0xb006, 0xbd80]);
        assert_eq!(scan.depth, 32);
        assert_eq!(scan.calls, [Call { at: 0x1006, depth: 32, target: Target::Address(0x2000) }]);
    }

    #[test]
    fn a_jump_out_is_a_call_with_what_is_left() {
        // push {r4, lr}; pop {r4}; add sp, #4 -- as if by hand; b.w 0x2000
        let scan = of(&[0xb510, 0xbc10, 0xb001, 0xf000, 0xbffb]);
        assert_eq!(scan.calls, [Call { at: 0x1006, depth: 0, target: Target::Address(0x2000) }]);
        assert_eq!(scan.depth, 8);
    }

    #[test]
    fn code_after_a_return_is_as_deep_as_the_branch_to_it() {
        // cbz r0, 1f; bx lr; 1: push {r4, lr}; bl 0x2000; pop {r4, pc}
        let scan = of(&[0xb100, 0x4770, 0xb510, 0xf000, 0xfffb, 0xbd10]);
        assert_eq!(scan.depth, 8);
        // push {r4, lr}; cbz r0, 1f; pop {r4, pc}; 1: sub sp, #8; blx r1; add sp, #8; pop {r4, pc}
        let scan = of(&[0xb510, 0xb100, 0xbd10, 0xb082, 0x4788, 0xb002, 0xbd10]);
        assert_eq!(scan.depth, 16);
        assert_eq!(scan.calls, [Call { at: 0x1008, depth: 16, target: Target::Unknown }]);
    }

    #[test]
    fn what_does_not_end_runs_into_what_comes_after() {
        // push {r4, lr}; nop
        let scan = of(&[0xb510, 0xbf00]);
        assert_eq!(scan.calls, [Call { at: 0x1004, depth: 8, target: Target::Address(0x1004) }]);
        // push {r4, lr}; bl 0x2000, which does not come back
        assert_eq!(of(&[0xb510, 0xf000, 0xfffd]).calls.len(), 1);
        assert_eq!(of(&[0xb510, 0xf000, 0xfffd, 0x46c0]).calls.len(), 1);
    }

    #[test]
    fn a_conditional_return_does_not_end_the_function() {
        // push {r4, lr}; it eq; popeq {r4, pc}; blx r1; pop {r4, pc}
        let scan = of(&[0xb510, 0xbf08, 0xbd10, 0x4788, 0xbd10]);
        assert_eq!(scan.calls, [Call { at: 0x1006, depth: 8, target: Target::Unknown }]);
    }

    #[test]
    fn a_frame_pointer_brings_the_stack_back_and_aligning_counts() {
        // push {r4, r6, r7, lr}; add r7, sp, #8; mov r4, sp; bfc r4, #0, #4; mov sp, r4; blx r1;
        // sub.w r4, r7, #8 (nothing); mov sp, r4; pop {r4, r6, r7, pc}
        let scan = of(&[0xb5d0, 0xaf02, 0x466c, 0xf36f, 0x0403, 0x46a5, 0x4788, 0x46a5, 0xbdd0]);
        assert_eq!(scan.depth, 31);
        assert_eq!((scan.calls[0].depth, scan.lost), (31, None));
        // push {r4, r6, r7, lr}; add r7, sp, #8; sub sp, #508; subs r6, r7, #7; subs r6, #1;
        // mov sp, r6; blx r1; pop {r4, r6, r7, pc}
        let scan = of(&[0xb5d0, 0xaf02, 0xb0ff, 0x1ffe, 0x3e01, 0x46b5, 0x4788, 0xbdd0]);
        assert_eq!((scan.depth, scan.calls[0].depth, scan.lost), (524, 16, None));
        // mov sp, r1
        assert_eq!(of(&[0x468d, 0x4770]).lost, Some(0x1000));
    }

    #[test]
    fn numbers_for_a_panic_only_do_not_count() {
        // movw r0, #0x1235; cbz r1, 1f; bx lr; 1: movw r2, #0x1237; bl 0x3000
        let scan = of(&[0xf241, 0x2035, 0xb101, 0x4770, 0xf241, 0x2237, 0xf001, 0xfff8]);
        assert_eq!(scan.calls.last().map(|call| call.target), Some(Target::Address(0x3000)));
        assert_eq!(scan.numbers, [0x1235]);
        // The same, and a call of something else.
        let scan = of(&[0xf241, 0x2035, 0xb101, 0x4770, 0xf241, 0x2237, 0xf000, 0xfff8]);
        assert_eq!(scan.numbers, [0x1235, 0x1237]);
    }

    #[test]
    fn numbers_and_literals_are_kept_and_used() {
        // ldr r6, [pc, #0]; sub-like add sp, r6; bx lr; .word -1024; movw r0, #0x1235
        let bytes = [0x4e00, 0x44b5, 0xfc00, 0xffff, 0xf241, 0x2035, 0x4770];
        let bytes: Vec<u8> = bytes.iter().flat_map(|half: &u16| half.to_le_bytes()).collect();
        let is_data = |address| (0x1004..0x1008).contains(&address);
        let scan =
            scan(&Code { start: 0x1000, bytes: &bytes, is_data: &is_data, is_end: &|_| false });
        assert_eq!(scan.depth, 1024);
        assert!(scan.numbers.contains(&0x1235) && scan.numbers.contains(&0xffff_fc00));
    }
}
