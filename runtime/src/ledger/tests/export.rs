//! An export is whole, repeats byte for byte, and no byte of it can differ unnoticed.

use super::*;
use crate::ledger::export::{Export, export};

fn exported(p: &Place) -> Vec<u8> {
    let blobs = Blobs::open(&p.disk, "b").unwrap();
    let mut out = Vec::new();
    export(&p.disk, "l", &blobs, &Name::new("portal").unwrap(), None, &mut out).unwrap();
    out
}

fn with_blobs() -> Place {
    let p = Place::written(2);
    let blobs = Blobs::open(&p.disk, "b").unwrap();
    let inner = blobs.put(b"inner content").unwrap();
    let outer = blobs.put(format!("{{\"names\":\"{inner}\"}}").as_bytes()).unwrap();
    blobs.put(b"named by nobody").unwrap();
    let mut named = entry(2);
    named.payload = json!({ "blob": outer.to_string(), "size": 1 });
    p.ledger().unwrap().append(vec![named]).unwrap();
    p
}

fn read(bytes: &[u8]) -> Result<usize, LedgerError> {
    let export = Export::open(bytes)?;
    let mut count = 0;
    export.lines(&mut |_| count += 1)?;
    for (digest, _) in export.blobs() {
        export.blob(&digest)?;
    }
    Ok(count)
}

#[test]
fn an_export_holds_what_records_name_and_what_that_names() {
    let p = with_blobs();
    let bytes = exported(&p);
    assert_eq!(bytes, exported(&p));
    assert_eq!(read(&bytes).unwrap(), 3);
    assert_eq!(Export::open(&bytes).unwrap().blobs().len(), 2);
    assert!(!String::from_utf8_lossy(&bytes).contains("named by nobody"));
}

#[test]
fn where_segments_begin_is_not_in_it() {
    let (a, b) = (place(), place());
    let (mut one, mut two) = (a.ledger().unwrap(), b.ledger().unwrap());
    for n in 0..3 {
        one.append(vec![entry(n)]).unwrap();
        two.append_first(entry(n)).unwrap();
    }
    assert!(b.path("00000002.jsl").exists());
    assert_eq!(exported(&a), exported(&b));
}

#[test]
fn every_flipped_byte_and_every_length_of_an_export_is_detected() {
    let good = exported(&with_blobs());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        assert!(read(&bad).is_err(), "byte {at}");
        assert!(read(&good[..at]).is_err(), "cut to {at}");
    }
    // With its last line put right, the lines before still tell.
    let body = good.len() - 69;
    for at in (0..body).step_by(7) {
        let mut bad = good[..body].to_vec();
        bad[at] ^= 1;
        let sum = jos_trust::sha256(&bad);
        bad.extend_from_slice(format!("end {sum}\n").as_bytes());
        let _ = read(&bad);
        let agent = (20..26).contains(&at);
        assert!(agent || read(&bad).is_err(), "byte {at}");
    }
}
