"""What generated text cites, by the keys of ``paper/refs.bib``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reference:
    """One source.

    Attributes:
        short: As it stands in running text, ``Student, 1908``.
        full: As it stands in a list.
    """

    short: str
    full: str


REFERENCES: dict[str, Reference] = {
    "codecarbon": Reference(
        "Courty et al., 2026",
        "Courty, B., Schmidt, V., Luccioni, S. et al. (2026). CodeCarbon: Estimate and track "
        "carbon emissions from computing. Software, version 3.3. doi:10.5281/zenodo.4658424.",
    ),
    "efron1993": Reference(
        "Efron and Tibshirani, 1993",
        "Efron, B. and Tibshirani, R. J. (1993). An Introduction to the Bootstrap. Chapman and "
        "Hall.",
    ),
    "fieller1954": Reference(
        "Fieller, 1954",
        "Fieller, E. C. (1954). Some problems in interval estimation. Journal of the Royal "
        "Statistical Society, Series B 16(2), 175-185.",
    ),
    "fisher1935": Reference(
        "Fisher, 1935", "Fisher, R. A. (1935). The Design of Experiments. Oliver and Boyd."
    ),
    "fleming1986": Reference(
        "Fleming and Wallace, 1986",
        "Fleming, P. J. and Wallace, J. J. (1986). How not to lie with statistics: The correct way "
        "to summarize benchmark results. Communications of the ACM 29(3), 218-221.",
    ),
    "henderson2020": Reference(
        "Henderson et al., 2020",
        "Henderson, P., Hu, J., Romoff, J., Brunskill, E., Jurafsky, D. and Pineau, J. (2020). "
        "Towards the systematic reporting of the energy and carbon footprints of machine "
        "learning. Journal of Machine Learning Research 21(248), 1-43.",
    ),
    "holm1979": Reference(
        "Holm, 1979",
        "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian "
        "Journal of Statistics 6(2), 65-70.",
    ),
    "satterthwaite1946": Reference(
        "Satterthwaite, 1946",
        "Satterthwaite, F. E. (1946). An approximate distribution of estimates of variance "
        "components. Biometrics Bulletin 2(6), 110-114.",
    ),
    "student1908": Reference(
        "Student, 1908",
        "Student (1908). The probable error of a mean. Biometrika 6(1), 1-25.",
    ),
    "tango1998": Reference(
        "Tango, 1998",
        "Tango, T. (1998). Equivalence test and confidence interval for the difference in "
        "proportions for the paired-sample design. Statistics in Medicine 17(8), 891-908.",
    ),
    "welch1947": Reference(
        "Welch, 1947",
        "Welch, B. L. (1947). The generalization of 'Student's' problem when several different "
        "population variances are involved. Biometrika 34(1-2), 28-35.",
    ),
    "yang2023": Reference(
        "Yang et al., 2023",
        "Yang, Z., Adamek, K. and Armour, W. (2023). Part-time power measurements: nvidia-smi's "
        "lack of attention. arXiv:2312.02741.",
    ),
    "you2023": Reference(
        "You et al., 2023",
        "You, J., Chung, J.-W. and Chowdhury, M. (2023). Zeus: Understanding and optimizing GPU "
        "energy consumption of DNN training. 20th USENIX Symposium on Networked Systems Design "
        "and Implementation (NSDI), 119-139.",
    ),
}
