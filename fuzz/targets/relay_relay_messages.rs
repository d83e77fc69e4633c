//! Fuzz target of [`emptyroom_relay::fuzz::fuzz_relay_messages`].
#![cfg_attr(fuzzing, no_main)]

emptyroom_fuzz::target!(emptyroom_relay::fuzz::fuzz_relay_messages);
