//! Fuzz target of [`emptyroom_wire::fuzz::fuzz_wipe_order`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_wire::fuzz::fuzz_wipe_order);
