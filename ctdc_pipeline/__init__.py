"""The CTDC pipeline's domain: de-identify, harmonise, count, synthesise, verify and publish. Knows nothing of Dagster."""
