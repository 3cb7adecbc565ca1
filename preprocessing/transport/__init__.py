"""How tables travel through Beam: form on the wire, shuffles, and who runs the graph."""
