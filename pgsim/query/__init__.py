"""A search, step by step: request -> anchors -> plan -> compile -> execute -> result."""
