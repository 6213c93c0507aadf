(module (func (export "astrid_hook_trigger") (param i32)))
