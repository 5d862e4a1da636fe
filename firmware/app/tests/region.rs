//! The model region, as far as it goes without a model.

use picovit::format::Packing;
use picovit_app::region::{self, HEADER_BYTES};
use picovit_app::{Region, RegionError, RegionHeader};

/// A region around an artifact that is none.
fn region(artifact: &[u8], self_test: &[u8]) -> Vec<u8> {
    let header = RegionHeader::new(artifact.len(), self_test.len()).unwrap();
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(artifact);
    bytes.resize(header.self_test as usize, 0);
    bytes.extend_from_slice(self_test);
    assert_eq!(bytes.len(), header.region_bytes() as usize);
    let sum = region::checksum(&bytes);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// What is wrong with some bytes.
fn wrong(bytes: &[u8]) -> RegionError {
    Region::parse(bytes, &[Packing::CortexM]).expect_err("not a region")
}

/// The same bytes with a valid checksum.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = region::checksum(&bytes);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn parts_are_aligned_and_in_order() {
    let header = RegionHeader::new(1001, 30).unwrap();
    let expected =
        RegionHeader { artifact: 32, artifact_bytes: 1001, self_test: 1040, self_test_bytes: 30 };
    assert_eq!(header, expected);
    assert_eq!(header.region_bytes(), 1070);
    assert_eq!(&header.to_bytes()[..8], b"PVRG\x01\0\x20\0");
    assert!(RegionHeader::new(usize::MAX, 1).is_none());
    assert!(RegionHeader::new(u32::MAX as usize - 40, 64).is_none());
}

#[test]
fn erased_and_foreign_memory_is_told_apart() {
    assert_eq!(wrong(&[0xff; 4096]), RegionError::Empty);
    assert_eq!(wrong(&[0; 4096]), RegionError::Magic);
    assert_eq!(wrong(&[0xff; HEADER_BYTES - 1]), RegionError::Length);
    assert_eq!(wrong(&[]), RegionError::Length);
}

#[test]
fn what_lies_behind_does_not_matter() {
    let mut bytes = region(b"no artifact", b"test");
    let error = wrong(&bytes);
    assert_eq!(error, RegionError::Model(picovit::Error::NotAnArtifact));
    bytes.extend([0xa5; 100]);
    assert_eq!(wrong(&bytes), error);
}

#[test]
fn every_damaged_byte_is_noticed() {
    let good = region(b"no artifact", b"test");
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let error = wrong(&bad);
            let expected = match at {
                0..4 => error == RegionError::Magic,
                4..6 => matches!(error, RegionError::Version { found } if found != 1),
                6..28 => matches!(error, RegionError::Length | RegionError::Checksum),
                _ => error == RegionError::Checksum,
            };
            assert!(expected, "byte {at}, bit {bit}: {error}");
        }
    }
    for length in 0..good.len() {
        assert_eq!(wrong(&good[..length]), RegionError::Length, "{length} bytes");
    }
}

#[test]
fn parts_outside_the_region_are_refused() {
    let good = region(b"no artifact", b"test");
    for (artifact, artifact_bytes) in [(0, 16), (16, 16), (u32::MAX, 2), (48, u32::MAX)] {
        let parts = RegionHeader { artifact, artifact_bytes, self_test: 48, self_test_bytes: 4 };
        let mut bytes = good.clone();
        bytes[..32].copy_from_slice(&parts.to_bytes());
        assert_eq!(wrong(&summed(bytes)), RegionError::Length, "{artifact} {artifact_bytes}");
    }
}

#[test]
fn another_chips_weights_are_named() {
    // As much of an artifact as says whose it is.
    for (id, packing) in [(0, Packing::Portable), (2, Packing::Helium), (3, Packing::Wide)] {
        let bytes = region(&[b'P', b'V', b'I', b'T', 4, 0, 0, id], b"");
        let expected = RegionError::WrongTarget { found: packing, wanted: Packing::CortexM };
        assert_eq!(wrong(&bytes), expected);
        let said = expected.to_string();
        assert!(said.contains(packing.name()) && said.contains("--target cortex-m33"), "{said}");
    }
    let own = region(&[b'P', b'V', b'I', b'T', 4, 0, 0, 1], b"");
    assert!(matches!(wrong(&own), RegionError::Model(picovit::Error::Length { .. })));
}
