"""Test OTSH's register: Portuguese headings, terms and countries, and which signalled victims are admitted."""

from pathlib import Path

import pytest

from ctdc_pipeline.codebook.countries import countries
from ctdc_pipeline.errors import DeliveryError, ParameterError
from ctdc_pipeline.partners.registry import SOURCES
from tests.support.deliveries import deliver, harmonise_all, harmonised, land, left_out, outcome, receive

STATUSES = ("Confirmada", "Sinalizada", "Pendente", "Não confirmada", "Registo de ensaio")
SIGNALLED = tuple({"N.º do guião": f"S-{n}", "Situação da vítima": status} for n, status in enumerate(STATUSES))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"Data da sinalização": "31/12/2015"}, {"yearOfRegistration": "2015"}),
        ({"Género": "feminino"}, {"gender": "Female"}),
        ({"Menor no início da exploração": "Sim"}, {"majorityStatusAtExploit": "Minor"}),
        ({"Nacionalidade": "moldava"}, {"citizenship": "MDA"}),
        ({"Nacionalidade": "São Tomé e Príncipe"}, {"citizenship": "STP"}),
        ({"Nacionalidade": "CABO-VERDIANO"}, {"citizenship": "CPV"}),
        ({"Nacionalidade": "Não especificado", "Segunda nacionalidade": "nepalesa"}, {"citizenship": "NPL"}),
        ({"País de exploração": "Espanha", "País de sinalização": "Portugal"}, {"CountryOfExploitation": "ESP"}),
        ({"País de sinalização": "Portugal"}, {"CountryOfExploitation": "PRT"}),
        ({"Início da exploração": "01/01/2016", "Fim da exploração": "01/03/2016"}, {"traffickMonths": "0--12 (0-1 yr)"}),
        ({"Tipo de exploração": "Mendicidade"}, {"isForcedLabour": "1", "typeOfLabourBegging": "1", "typeOfLabourOther": "1"}),
        ({"Tipo de exploração": "Laboral, Sexual"}, {"isForcedLabour": "1", "isSexualExploit": "1", "isOtherExploit": None}),
        ({"Tipo de exploração": "Servidão"}, {"isSlaveryAndPractices": "1", "isOtherExploit": "1"}),
        ({"Tipo de exploração": "Adoção"}, {"isOtherExploit": "1", "isSlaveryAndPractices": None}),
        ({"Setor de atividade": "Silvicultura"}, {"typeOfLabourOther": "1", "typeOfLabourAgriculture": None}),
        ({"Meios de controlo": "Retenção de documentos, Uso dos filhos"}, {"meansOfControlWithholdsDocuments": "1"}),
        ({"Relação com quem recrutou": "Angariador"}, {"recruiterRelationOther": "1"}),
    ],
)
def test_what_a_signalling_form_says(tmp_path: Path, cells: dict[str, str], expected: dict[str, str | None]) -> None:
    """Guards against a Portuguese heading, term or country that is read as something else, or not at all."""
    assert harmonised(tmp_path, "otsh", cells).quarantined == {}
    (case,) = outcome(tmp_path, "otsh")
    assert {name: case[name] for name in expected} == expected


def test_only_confirmed_victims_and_those_of_ngos_enter(tmp_path: Path) -> None:
    """Guards against publishing people as victims whom the police did not confirm, or have not confirmed yet."""
    assert harmonised(tmp_path, "otsh", *SIGNALLED).accepted == 2
    assert left_out(tmp_path, "otsh") == {3: "pending", 4: "not-confirmed", 5: "test-record"}


def test_an_installation_may_let_pending_ones_in(tmp_path: Path) -> None:
    """Guards against a setting that changes nothing, or lets in more than it says."""
    deliver(tmp_path, "otsh", *SIGNALLED)
    assert harmonise_all(tmp_path, "otsh", admits={"otsh": ["pending"]}).accepted == 3
    assert left_out(tmp_path, "otsh") == {4: "not-confirmed", 5: "test-record"}
    assert harmonise_all(tmp_path, "otsh", admits={"otsh": ["pending", "not-confirmed"]}).accepted == 4


@pytest.mark.parametrize(("source", "rule"), [("otsh", "test-record"), ("iom_mimosa", "individual-without-consent")])
def test_no_setting_lets_in_those_who_must_stay_out(source: str, rule: str) -> None:
    """Guards against a setting by which people who did not consent, or no people at all, would be published."""
    with pytest.raises(ParameterError, match=rule):
        SOURCES[source].admitting([rule])


def test_an_export_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Guards against accents of an old Portuguese export that turn into other letters and make headings unknown."""
    path = land(tmp_path, "otsh", {"Nacionalidade": "Moldávia"})
    path.write_bytes(path.read_bytes().decode("utf-8-sig").encode("cp1252"))
    with pytest.raises(DeliveryError, match="encoding is not UTF-8"):
        receive(tmp_path, "otsh")


def test_every_country_has_a_portuguese_name_of_its_own() -> None:
    """Guards against a name or gentilic of two countries, one of which would be chosen silently, and countries without a name."""
    named: dict[str, str] = {}
    for country in countries().rows:
        assert country.portuguese
        for name in (*country.portuguese, *country.gentilics):
            assert named.setdefault(name.casefold(), country.iso3) == country.iso3
            assert countries().alpha3(name, system="portuguese") == country.iso3
    assert countries().alpha3("congolesa", system="portuguese") is None
    assert countries().alpha3("Coreia", system="portuguese") is None
