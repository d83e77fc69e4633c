//! Casts: who gets them, and how far one stream can multiply its own.

use emptyroom_wire::op::{Append, Cast, Handle, Push, RefusalCode, Renew, RenewProof, Request};
use emptyroom_wire::time::SECOND_MS;

use crate::readers::{append, writer};
use crate::world::{Log, World};

fn cast(handle: Handle) -> Request {
    Request::Cast(Cast {
        handle,
        bytes: vec![1; 4_096],
    })
}

// [SPEC 4.60]
#[test]
fn a_cast_reaches_the_other_handles_and_no_disk() {
    let mut world = World::new();
    let (log, elsewhere) = (Log::new(1), Log::new(2));
    let (mut client, handle) = writer(&mut world, &log);
    let mut stranger = writer(&mut world, &elsewhere);
    let mut reader = world.client();
    let theirs = reader.open(&mut world, &log, 0).handle;
    let second = client.open(&mut world, &log, 0).handle;
    for client in [&mut client, &mut reader, &mut stranger.0] {
        client.receive(&mut world);
        client.pushes.clear();
    }
    let cast = |handle| {
        Request::Cast(Cast {
            handle,
            bytes: b"typing".to_vec(),
        })
    };
    // It needs the append key, proved before.
    assert_eq!(
        client.refused(&mut world, cast(handle)),
        RefusalCode::BadProof
    );
    let proof = Some(RenewProof::Append(client.append_proof(&world, &log)));
    client.ask(&mut world, Request::Renew(Renew { handle, proof }));
    let disk = world.disk();
    client.send(&mut world, cast(handle));
    for client in [&mut client, &mut reader, &mut stranger.0] {
        client.receive(&mut world);
    }
    let is_cast = |push: &Push| matches!(push, Push::Cast(cast) if cast.bytes == b"typing");
    assert!(matches!(&client.pushes[..], [(at, push)] if *at == second && is_cast(push)));
    assert!(matches!(&reader.pushes[..], [(at, push)] if *at == theirs && is_cast(push)));
    assert!(stranger.0.pushes.is_empty());
    assert!(client.answers.is_empty(), "a cast is not answered");
    assert!(world.disk().lasting == disk.lasting && world.disk().entries == disk.entries);
    // A reader that takes nothing misses casts, and nothing piles up.
    world.sockets_take = false;
    for _ in 0..1_000 {
        client.send(
            &mut world,
            Request::Cast(Cast {
                handle,
                bytes: vec![1; 4_096],
            }),
        );
        let conn = client.conn;
        world.take_all(conn);
    }
    assert!(world.unsent[&reader.conn] < 2 << 20);
}

// [SPEC 4.63]
#[test]
fn a_closed_log_takes_no_casts() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    append(&mut world, &mut pair, &log, 0);
    let (mut client, handle) = pair;
    client.receive(&mut world);
    client.answers.clear();
    let mut reader = world.client();
    let theirs = reader.open(&mut world, &log, 0).handle;
    client.send(&mut world, cast(handle));
    client.receive(&mut world);
    assert!(client.answers.is_empty());
    let close = Append {
        commit: true,
        close: true,
        ..client.message(&world, &log, handle, 1)
    };
    client.ask(&mut world, Request::Append(close));
    // Whoever had it open before, and whoever opens it now.
    let later = reader.open(&mut world, &log, 0).handle;
    let proof = Some(RenewProof::Append(reader.append_proof(&world, &log)));
    for at in [theirs, later] {
        let proof = proof.clone();
        reader.ask(&mut world, Request::Renew(Renew { handle: at, proof }));
        let refused = reader.refused(&mut world, cast(at));
        assert_eq!(refused, RefusalCode::Closed);
    }
    assert_eq!(
        client.refused(&mut world, cast(handle)),
        RefusalCode::Closed
    );
}

// [SPEC 4.63]
#[test]
fn casts_multiply_so_much_in_a_second() {
    let mut world = World::new();
    let log = Log::new(1);
    let mut pair = writer(&mut world, &log);
    append(&mut world, &mut pair, &log, 0);
    let (mut client, handle) = pair;
    client.receive(&mut world);
    client.answers.clear();
    let mut readers: Vec<_> = (0..10).map(|_| world.client()).collect();
    for reader in &mut readers {
        for _ in 0..10 {
            reader.open(&mut world, &log, 1);
        }
    }
    // 1,024 pushes and what is left of the cast that reaches them.
    for _ in 0..11 {
        client.send(&mut world, cast(handle));
        client.receive(&mut world);
        assert!(client.answers.is_empty());
    }
    assert_eq!(client.refused(&mut world, cast(handle)), RefusalCode::Busy);
    let is_cast = |(_, push): &&(Handle, Push)| matches!(push, Push::Cast(_));
    let mut casts = 0;
    for reader in &mut readers {
        reader.receive(&mut world);
        casts += reader.pushes.iter().filter(is_cast).count();
    }
    assert_eq!(casts, 1_100);
    world.pass(SECOND_MS);
    client.send(&mut world, cast(handle));
    client.receive(&mut world);
    assert!(client.answers.is_empty());
}
