//! The behaviour suite on engine `lua`.

conformance::suite!(lua, engine_lua::LuaFactory);
