"""Make an export of OTSH's register of signalled victims, about invented persons.

Its layout is ``partners/otsh.toml``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.partners.registry import SOURCES
from ctdc_pipeline.samples import export
from ctdc_pipeline.samples.identities import identities
from ctdc_pipeline.samples.population import Persons

CASES = SOURCES["otsh"].cases

FILE = "otsh_sinalizacoes_{label}.csv"
GENDERS = {"Female": "Feminino", "Male": "Masculino", "TransFemale": "Transgénero", "TransMale": "Transgénero"}
POLICE, NGOS = ("Polícia Exemplo", "Guarda Exemplo"), ("Associação Exemplo", "Centro Fictício")
DISTRICTS = ("Distrito Exemplo", "Distrito Fictício", "Distrito Inventado")
SUPPORT = ("Acolhimento", "Acolhimento, Apoio jurídico", "Apoio psicológico", "Tradução, Saúde", "Retorno assistido")


def rows(rng: np.random.Generator, persons: Persons) -> pd.DataFrame:
    """Return one row a person, as str cells in the columns of the layout."""
    size = len(persons["age"])
    details = identities(rng, size)
    day = CASES.date_formats[0]
    home, country, registered = persons["citizenship"], persons["country"], persons["registered"]

    # A form signals a person, or a group that was found at one place of work.
    starts = rng.random(size) < 0.6
    starts[:1] = True
    form = np.cumsum(starts)
    victim = np.arange(size) - np.maximum.accumulate(np.where(starts, np.arange(size), 0)) + 1
    police = rng.random(size) < 0.6
    exploited = export.kept(country, rng.random(size) < 0.8)
    signalled = np.where(exploited != "", export.kept(np.full(size, "PT", dtype=object), rng.random(size) < 0.9), country)
    relation = np.where(country == "PT", "Destino", np.where(home == "PT", "Origem", "Trânsito"))
    known = persons["age_known"]
    has_birth, has_age = rng.random(size) < 0.5, rng.random(size) < 0.8
    has_age |= ~has_birth
    duration_known, dated = persons["months_known"], rng.random(size) < 0.5

    return export.rows(
        rng,
        CASES,
        persons,
        {
            "N.º do guião": export.serial("S-", form, 5),
            "N.º da vítima": export.serial("", victim, 1),
            "Instrumento": np.where(police, "GUR", "GS"),
            "Tipo de entidade": np.where(police, "OPC", "ONG"),
            "Entidade sinalizadora": np.where(police, export.pick(rng, POLICE, size), export.pick(rng, NGOS, size)),
            "Situação da vítima": np.where(police, "Confirmada", "Sinalizada"),
            "Nome completo": details["given"] + " " + details["family"],
            "Outros nomes": export.kept(details["given"], rng.random(size) < 0.1),
            "N.º do documento": export.kept(details["passport"], rng.random(size) < 0.5),
            "Telefone": export.kept(details["phone"], rng.random(size) < 0.5),
            "Morada": export.kept(details["address"], rng.random(size) < 0.7),
            "Pessoa de contacto": export.kept(details["kin"], rng.random(size) < 0.3),
            "Técnico responsável": details["officer"],
            "Data da sinalização": export.dates(registered, day),
            "Género": export.words(persons["gender"], GENDERS, "Não binário"),
            "Data de nascimento": export.kept(export.dates(persons["born"], day), known & has_birth),
            "Idade": export.numbers(persons["age"], known & has_age),
            "Menor no início da exploração": export.kept(
                np.where(persons["age_at_start"] < 18, "Sim", "Não"), persons["start_known"]
            ),
            "Nacionalidade": np.where(rng.random(size) < 0.5, _gentilics(home), export.country_cells(rng, home, CASES.countries)),
            "País de naturalidade": export.country_cells(rng, export.kept(home, rng.random(size) < 0.7), CASES.countries),
            "Portugal como país de": export.kept(relation, country != ""),
            "País de recrutamento": export.country_cells(rng, export.kept(home, rng.random(size) < 0.6), CASES.countries),
            "País de exploração": export.country_cells(rng, exploited, CASES.countries),
            "País de sinalização": export.country_cells(rng, signalled, CASES.countries),
            "Distrito": export.kept(export.pick(rng, DISTRICTS, size), rng.random(size) < 0.8),
            "Início da exploração": export.kept(export.dates(persons["began"], day), duration_known & dated),
            "Fim da exploração": export.kept(export.dates(persons["ended"], day), duration_known & dated),
            "Duração (meses)": export.numbers(persons["months"], duration_known & ~dated),
            "Apoio prestado": export.kept(export.pick(rng, SUPPORT, size), rng.random(size) < 0.5),
            "Observações": details["note"],
            "Última atualização": export.dates(export.shifted(rng, registered, 300), day),
        },
    )


def _gentilics(alpha2: export.Cells) -> export.Cells:
    """Return the Portuguese word for the people of each country.

    It is the country's name if there is no such word; "" stays "".
    """
    own = {row.iso2: (row.gentilics or row.portuguese)[0] for row in countries().rows}
    return export.words(alpha2, own | {"XK": "kosovar", "TB": "tibetana"})
