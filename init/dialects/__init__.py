"""Front ends that compile configuration documents to one `Machine`. May use PyYAML; PID 1 never imports them."""
