//! UF2 files: what boot loaders take over USB.
//!
//! Blocks of 512 bytes, each with 256 bytes for one place in flash, so that it does not matter how the
//! file system cuts the file up. <https://github.com/microsoft/uf2> specifies them.

/// Bytes of a block.
pub(super) const BLOCK: usize = 512;
/// Bytes of flash in it.
const PAYLOAD: usize = 256;
/// What boot loaders erase at a time. Whole sectors are written: what is behind the data is then erased,
/// not whatever was there before.
const SECTOR: u32 = 4096;
/// Flag: the block names a family of chips.
const FAMILY: u32 = 0x2000;

/// Bytes for a place in flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where they go.
    pub address: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A file that writes these parts, for chips of a family. Parts may share a sector.
pub(super) fn file(parts: &[Part], family: u32) -> Vec<u8> {
    let pages = pages(parts);
    let count = pages.len() as u32;
    let block = |(number, (address, payload)): (usize, &(u32, [u8; PAYLOAD]))| {
        let mut block = [0; BLOCK];
        let head = [
            0x0a32_4655,
            0x9e5d_5157,
            FAMILY,
            *address,
            PAYLOAD as u32,
            number as u32,
            count,
            family,
        ];
        for (place, word) in block.as_chunks_mut::<4>().0.iter_mut().zip(head) {
            *place = word.to_le_bytes();
        }
        block[32..32 + PAYLOAD].copy_from_slice(payload);
        block[508..].copy_from_slice(&0x0ab1_6f30_u32.to_le_bytes());
        block
    };
    pages.iter().enumerate().flat_map(block).collect()
}

/// All pages of all sectors that the parts touch, in order of their addresses; erased where no part says
/// otherwise.
fn pages(parts: &[Part]) -> Vec<(u32, [u8; PAYLOAD])> {
    let ends = |part: &Part| (part.address, part.address + part.bytes.len() as u32);
    let mut starts: Vec<u32> = parts
        .iter()
        .map(ends)
        .flat_map(|(start, end)| (start / SECTOR..end.div_ceil(SECTOR)).map(|n| n * SECTOR))
        .flat_map(|sector| (sector..sector + SECTOR).step_by(PAYLOAD))
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let mut pages: Vec<_> = starts.into_iter().map(|start| (start, [0xff; PAYLOAD])).collect();
    for part in parts {
        let (start, end) = ends(part);
        let first = pages.partition_point(|&(page, _)| page + PAYLOAD as u32 <= start);
        for (page, bytes) in pages[first..].iter_mut().take_while(|(page, _)| *page < end) {
            let (from, to) = (start.max(*page), end.min(*page + PAYLOAD as u32));
            let source = &part.bytes[(from - start) as usize..(to - start) as usize];
            bytes[(from - *page) as usize..(to - *page) as usize].copy_from_slice(source);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_carry_every_byte_to_its_place() {
        let parts = [
            Part { address: 0x1010_0000, bytes: (0..5000).map(|i| (i % 251) as u8).collect() },
            // Two that share a page, and do not begin or end with one.
            Part { address: 0x1000_0010, bytes: vec![1; 20] },
            Part { address: 0x1000_0024, bytes: vec![2; 300] },
        ];
        let file = file(&parts, 0xe48b_ff59);
        let blocks: Vec<&[u8]> = file.chunks_exact(512).collect();
        assert_eq!(blocks.len() * 512, file.len());
        assert_eq!(blocks.len(), 16 + 32);
        let word =
            |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        let mut flash = std::collections::BTreeMap::new();
        for (number, block) in blocks.iter().enumerate() {
            let head: Vec<u32> = (0..8).map(|at| word(block, 4 * at)).collect();
            assert_eq!(&head[..3], [0x0a32_4655, 0x9e5d_5157, 0x2000]);
            assert_eq!(&head[4..], [256, number as u32, 48, 0xe48b_ff59]);
            assert_eq!(word(block, 508), 0x0ab1_6f30);
            assert!(block[288..508].iter().all(|&byte| byte == 0));
            for (at, &byte) in block[32..288].iter().enumerate() {
                assert_eq!(flash.insert(head[3] + at as u32, byte), None, "{:#x}", head[3]);
            }
        }
        for part in &parts {
            for (at, &byte) in part.bytes.iter().enumerate() {
                assert_eq!(flash.remove(&(part.address + at as u32)), Some(byte));
            }
        }
        assert!(flash.values().all(|&byte| byte == 0xff));
    }
}
