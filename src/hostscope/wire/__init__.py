"""Bytes of the network -> meaning. Pure: no host, no files but those that a caller names.

    source -> PacketBatch -> decode -> Decoded -> FlowTable.update -> flow_records.records

Everything works on whole batches of packets as NumPy columns. Importing any module of this room imports NumPy, which
takes longer than most commands: faces import it on first use.
"""
