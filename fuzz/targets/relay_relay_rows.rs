//! Fuzz target of [`emptyroom_relay::fuzz::fuzz_relay_rows`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_relay::fuzz::fuzz_relay_rows);
