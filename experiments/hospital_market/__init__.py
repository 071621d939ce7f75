"""A market of hospitals: does an encrypted value tell what their records do for a buyer's model?

Three public data sets: a trial's patients (ACTG 175), thyroid laboratories, and ICD-10-CM descriptions read by MiniLM.
``python -m experiments.hospital_market`` runs it.
"""
