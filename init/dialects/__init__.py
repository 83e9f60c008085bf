"""Front ends that compile configuration documents to one `init.formats.machine.Machine`. May use PyYAML; PID 1 never imports it."""
