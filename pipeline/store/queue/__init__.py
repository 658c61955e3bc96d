"""The queue of a county's properties.

loading       puts the properties of a file into the queue
all_lots      puts every lot of a layer into the queue
selection     which properties a batch works on
leases        leases properties to a run (SKIP LOCKED, keyset cursor)
states        counts, resets, renews and releases
retry_policy  when a property without a result is tried again, for each reason
"""
