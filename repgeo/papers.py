"""The bibliography: every paper that a docstring, a notebook or a claim cites, once."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One entry; `key` is the first author's surname and the year it is cited by, `arxiv` may be empty."""

    key: str
    authors: tuple[str, ...]
    year: int
    title: str
    arxiv: str = ""
    venue: str = ""


_LIST = (
    Paper(
        "agrawal2022",
        ("Kumar Krishna Agrawal", "Arnab Kumar Mondal", "Arna Ghosh", "Blake A. Richards"),
        2022,
        "α-ReQ: Assessing Representation Quality in Self-Supervised Learning by measuring eigenspectrum decay",
        venue="NeurIPS 2022",
    ),
    Paper(
        "arora2016",
        ("Sanjeev Arora", "Yuanzhi Li", "Yingyu Liang", "Tengyu Ma", "Andrej Risteski"),
        2016,
        "A Latent Variable Model Approach to PMI-based Word Embeddings",
        "1502.03520",
        "TACL 2016",
    ),
    Paper(
        "boixadsera2022",
        ("Enric Boix-Adserà", "Hannah Lawrence", "George Stepaniants", "Philippe Rigollet"),
        2022,
        "GULP: a prediction-based metric between representations",
        "2210.06545",
        "NeurIPS 2022",
    ),
    Paper(
        "candes2009",
        ("Emmanuel J. Candès", "Benjamin Recht"),
        2009,
        "Exact Matrix Completion via Convex Optimization",
        "0805.4471",
        "Foundations of Computational Mathematics",
    ),
    Paper(
        "chen2010",
        ("Song Xi Chen", "Li-Xin Zhang", "Ping-Shou Zhong"),
        2010,
        "Tests for High-Dimensional Covariance Matrices",
        venue="Journal of the American Statistical Association",
    ),
    Paper(
        "chen2023",
        ("Yiting Chen", "Zhanpeng Zhou", "Junchi Yan"),
        2023,
        "Going Beyond Neural Network Feature Similarity: The Network Feature Complexity and Its Interpretation "
        "Using Category Theory",
        "2310.06756",
        "ICLR 2024",
    ),
    Paper(
        "chun2025",
        ("Chanwoo Chun", "Abdulkadir Canatar", "SueYeon Chung", "Daniel Lee"),
        2025,
        "Estimating Neural Representation Alignment from Sparsely Sampled Inputs and Features",
        "2502.15104",
    ),
    Paper(
        "cui2022",
        ("Tianyu Cui", "Yogesh Kumar", "Pekka Marttinen", "Samuel Kaski"),
        2022,
        "Deconfounded Representation Similarity for Comparison of Neural Networks",
        "2202.00095",
        "NeurIPS 2022",
    ),
    Paper(
        "darabi2025",
        (
            "Nastaran Darabi",
            "Devashri Naik",
            "Sina Tayebati",
            "Dinithi Jayasuriya",
            "Ranganath Krishnan",
            "Amit Ranjan Trivedi",
        ),
        2025,
        "EigenShield: Causal Subspace Filtering via Random Matrix Theory for Adversarially Robust Vision-Language "
        "Models",
        "2502.14976",
    ),
    Paper(
        "davari2022",
        (
            "MohammadReza Davari",
            "Stefan Horoi",
            "Amine Natik",
            "Guillaume Lajoie",
            "Guy Wolf",
            "Eugene Belilovsky",
        ),
        2022,
        "Reliability of CKA as a Similarity Measure in Deep Learning",
        "2210.16156",
        "ICLR 2023",
    ),
    Paper(
        "dhillon2001",
        ("Inderjit S. Dhillon",),
        2001,
        "Co-clustering documents and words using bipartite spectral graph partitioning",
        venue="KDD 2001",
    ),
    Paper(
        "ding2021",
        ("Frances Ding", "Jean-Stanislas Denain", "Jacob Steinhardt"),
        2021,
        "Grounding Representation Similarity with Statistical Testing",
        "2108.01661",
        "NeurIPS 2021",
    ),
    Paper(
        "ethayarajh2019",
        ("Kawin Ethayarajh",),
        2019,
        "How Contextual are Contextualized Word Representations? Comparing the Geometry of BERT, ELMo, and GPT-2 "
        "Embeddings",
        "1909.00512",
        "EMNLP 2019",
    ),
    Paper(
        "friedman2010",
        ("Jerome Friedman", "Trevor Hastie", "Robert Tibshirani"),
        2010,
        "Regularization Paths for Generalized Linear Models via Coordinate Descent",
        venue="Journal of Statistical Software",
    ),
    Paper(
        "friedman2023",
        ("Dan Friedman", "Adji Bousso Dieng"),
        2023,
        "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
        "2210.02410",
        "TMLR 2023",
    ),
    Paper(
        "gao2017",
        (
            "Peiran Gao",
            "Eric Trautmann",
            "Byron Yu",
            "Gopal Santhanam",
            "Stephen Ryu",
            "Krishna Shenoy",
            "Surya Ganguli",
        ),
        2017,
        "A theory of multineuronal dimensionality, dynamics and measurement",
        venue="bioRxiv 214262",
    ),
    Paper(
        "garrido2023",
        ("Quentin Garrido", "Randall Balestriero", "Laurent Najman", "Yann LeCun"),
        2023,
        "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by Their Rank",
        "2210.02885",
        "ICML 2023",
    ),
    Paper(
        "gavish2014",
        ("Matan Gavish", "David L. Donoho"),
        2014,
        "The Optimal Hard Threshold for Singular Values is 4/√3",
        "1305.5870",
        "IEEE Transactions on Information Theory",
    ),
    Paper(
        "gretton2005",
        ("Arthur Gretton", "Olivier Bousquet", "Alex Smola", "Bernhard Schölkopf"),
        2005,
        "Measuring Statistical Dependence with Hilbert-Schmidt Norms",
        venue="ALT 2005",
    ),
    Paper(
        "groger2026",
        ("Fabian Gröger", "Shuo Wen", "Maria Brbić"),
        2026,
        "Revisiting the Platonic Representation Hypothesis: An Aristotelian View",
        "2602.14486",
    ),
    Paper(
        "harvey2023",
        ("Sarah E. Harvey", "Brett W. Larsen", "Alex H. Williams"),
        2023,
        "Duality of Bures and Shape Distances with Implications for Comparing Neural Representations",
        "2311.11436",
        "UniReps workshop 2023",
    ),
    Paper(
        "he2022",
        ("Bobby He", "Mete Ozay"),
        2022,
        "Exploring the Gap between Collapsed & Whitened Features in Self-Supervised Learning",
        venue="ICML 2022",
    ),
    Paper(
        "hill1975",
        ("Bruce M. Hill",),
        1975,
        "A Simple General Approach to Inference About the Tail of a Distribution",
        venue="Annals of Statistics",
    ),
    Paper(
        "hu2025",
        ("Yuanzhe Hu", "Kinshuk Goel", "Vlad Killiakov", "Yaoqing Yang"),
        2025,
        "Eigenspectrum Analysis of Neural Networks without Aspect Ratio Bias",
        "2506.06280",
        "ICML 2025",
    ),
    Paper(
        "huh2024",
        ("Minyoung Huh", "Brian Cheung", "Tongzhou Wang", "Phillip Isola"),
        2024,
        "The Platonic Representation Hypothesis",
        "2405.07987",
        "ICML 2024",
    ),
    Paper(
        "johnstone2001",
        ("Iain M. Johnstone",),
        2001,
        "On the distribution of the largest eigenvalue in principal components analysis",
        venue="Annals of Statistics",
    ),
    Paper(
        "khosla2024",
        ("Meenakshi Khosla", "Alex H. Williams"),
        2024,
        "Soft Matching Distance: A metric on neural representations that captures single-neuron tuning",
        "2311.09466",
        "UniReps workshop 2023",
    ),
    Paper(
        "klabunde2023",
        ("Max Klabunde", "Tobias Schumacher", "Markus Strohmaier", "Florian Lemmerich"),
        2023,
        "Similarity of Neural Network Models: A Survey of Functional and Representational Measures",
        "2305.06329",
    ),
    Paper(
        "klabunde2024",
        (
            "Max Klabunde",
            "Tassilo Wald",
            "Tobias Schumacher",
            "Klaus Maier-Hein",
            "Markus Strohmaier",
            "Florian Lemmerich",
        ),
        2024,
        "ReSi: A Comprehensive Benchmark for Representational Similarity Measures",
        "2408.00531",
        "ICLR 2025",
    ),
    Paper(
        "kornblith2019",
        ("Simon Kornblith", "Mohammad Norouzi", "Honglak Lee", "Geoffrey Hinton"),
        2019,
        "Similarity of Neural Network Representations Revisited",
        "1905.00414",
        "ICML 2019",
    ),
    Paper(
        "kriegeskorte2008",
        ("Nikolaus Kriegeskorte", "Marieke Mur", "Peter Bandettini"),
        2008,
        "Representational similarity analysis - connecting the branches of systems neuroscience",
        venue="Frontiers in Systems Neuroscience",
    ),
    Paper(
        "li2015",
        ("Yixuan Li", "Jason Yosinski", "Jeff Clune", "Hod Lipson", "John Hopcroft"),
        2015,
        "Convergent Learning: Do different neural networks learn the same representations?",
        "1511.07543",
        "ICLR 2016",
    ),
    Paper(
        "marchenko1967",
        ("Vladimir A. Marchenko", "Leonid A. Pastur"),
        1967,
        "Distribution of eigenvalues for some sets of random matrices",
        venue="Mathematics of the USSR-Sbornik",
    ),
    Paper(
        "may2019",
        ("Avner May", "Jian Zhang", "Tri Dao", "Christopher Ré"),
        2019,
        "On the Downstream Performance of Compressed Word Embeddings",
        "1909.01264",
        "NeurIPS 2019",
    ),
    Paper(
        "morcos2018",
        ("Ari S. Morcos", "Maithra Raghu", "Samy Bengio"),
        2018,
        "Insights on representational similarity in neural networks with canonical correlation",
        "1806.05759",
        "NeurIPS 2018",
    ),
    Paper(
        "mu2018",
        ("Jiaqi Mu", "Pramod Viswanath"),
        2018,
        "All-but-the-Top: Simple and Effective Postprocessing for Word Representations",
        "1702.01417",
        "ICLR 2018",
    ),
    Paper(
        "murphy2024",
        ("Alex Murphy", "Joel Zylberberg", "Alona Fyshe"),
        2024,
        "Correcting Biased Centered Kernel Alignment Measures in Biological and Artificial Neural Networks",
        "2405.01012",
    ),
    Paper(
        "nguyen2021",
        ("Thao Nguyen", "Maithra Raghu", "Simon Kornblith"),
        2021,
        "Do Wide and Deep Networks Learn the Same Things? Uncovering How Neural Network Representations Vary "
        "with Width and Depth",
        "2010.15327",
        "ICLR 2021",
    ),
    Paper(
        "pasarkar2023",
        ("Amey P. Pasarkar", "Adji Bousso Dieng"),
        2023,
        "Cousins Of The Vendi Score: A Family Of Similarity-Based Diversity Metrics For Science And Machine Learning",
        "2310.12952",
        "AISTATS 2024",
    ),
    Paper(
        "pennington2014",
        ("Jeffrey Pennington", "Richard Socher", "Christopher D. Manning"),
        2014,
        "GloVe: Global Vectors for Word Representation",
        venue="EMNLP 2014",
    ),
    Paper(
        "raghu2017",
        ("Maithra Raghu", "Justin Gilmer", "Jason Yosinski", "Jascha Sohl-Dickstein"),
        2017,
        "SVCCA: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and "
        "Interpretability",
        "1706.05806",
        "NeurIPS 2017",
    ),
    Paper(
        "roy2007",
        ("Olivier Roy", "Martin Vetterli"),
        2007,
        "The Effective Rank: A Measure of Effective Dimensionality",
        venue="EUSIPCO 2007",
    ),
    Paper(
        "rudelson2007",
        ("Mark Rudelson", "Roman Vershynin"),
        2007,
        "Sampling from large matrices: An approach through geometric functional analysis",
        venue="Journal of the ACM 54(4)",
    ),
    Paper(
        "rudman2022",
        ("William Rudman", "Nate Gillman", "Taylor Rayne", "Carsten Eickhoff"),
        2022,
        "IsoScore: Measuring the Uniformity of Embedding Space Utilization",
        "2108.07344",
        "Findings of ACL 2022",
    ),
    Paper(
        "rudman2024",
        ("William Rudman", "Carsten Eickhoff"),
        2024,
        "Stable Anisotropic Regularization",
        "2305.19358",
        "ICLR 2024",
    ),
    Paper(
        "shen2022",
        ("Cencheng Shen", "Sambit Panda", "Joshua T. Vogelstein"),
        2022,
        "The Chi-Square Test of Distance Correlation",
        venue="Journal of Computational and Graphical Statistics",
    ),
    Paper(
        "song2012",
        ("Le Song", "Alex Smola", "Arthur Gretton", "Justin Bedo", "Karsten Borgwardt"),
        2012,
        "Feature Selection via Dependence Maximization",
        venue="Journal of Machine Learning Research",
    ),
    Paper(
        "steck2024",
        ("Harald Steck", "Chaitanya Ekanadham", "Nathan Kallus"),
        2024,
        "Is Cosine-Similarity of Embeddings Really About Similarity?",
        "2403.05440",
    ),
    Paper(
        "szekely2007",
        ("Gábor J. Székely", "Maria L. Rizzo", "Nail K. Bakirov"),
        2007,
        "Measuring and testing dependence by correlation of distances",
        "0803.4101",
        "Annals of Statistics",
    ),
    Paper(
        "szekely2014",
        ("Gábor J. Székely", "Maria L. Rizzo"),
        2014,
        "Partial distance correlation with methods for dissimilarities",
        "1310.2926",
        "Annals of Statistics",
    ),
    Paper(
        "tang2020",
        ("Shuai Tang", "Wesley J. Maddox", "Charlie Dickens", "Tom Diethe", "Andreas Damianou"),
        2020,
        "Similarity of Neural Networks with Gradients",
        "2003.11498",
    ),
    Paper(
        "thilak2023",
        (
            "Vimal Thilak",
            "Chen Huang",
            "Omid Saremi",
            "Laurent Dinh",
            "Hanlin Goh",
            "Preetum Nakkiran",
            "Joshua M. Susskind",
            "Etai Littwin",
        ),
        2023,
        "LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures",
        "2312.04000",
        "ICLR 2024",
    ),
    Paper(
        "tsitsulin2020",
        (
            "Anton Tsitsulin",
            "Marina Munkhoeva",
            "Davide Mottin",
            "Panagiotis Karras",
            "Alex Bronstein",
            "Ivan Oseledets",
            "Emmanuel Müller",
        ),
        2020,
        "The Shape of Data: Intrinsic Distance for Data Distributions",
        "1905.11141",
        "ICLR 2020",
    ),
    Paper(
        "tsitsulin2023",
        ("Anton Tsitsulin", "Marina Munkhoeva", "Bryan Perozzi"),
        2023,
        "Unsupervised Embedding Quality Evaluation",
        "2305.16562",
    ),
    Paper(
        "wang2020",
        ("Tongzhou Wang", "Phillip Isola"),
        2020,
        "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
        "2005.10242",
        "ICML 2020",
    ),
    Paper(
        "williams2021",
        ("Alex H. Williams", "Erin Kunz", "Simon Kornblith", "Scott W. Linderman"),
        2021,
        "Generalized Shape Metrics on Neural Representations",
        "2110.14739",
        "NeurIPS 2021",
    ),
    Paper(
        "xiao2017",
        ("Han Xiao", "Kashif Rasul", "Roland Vollgraf"),
        2017,
        "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
        "1708.07747",
    ),
    Paper(
        "yu2020",
        ("Yaodong Yu", "Kwan Ho Ryan Chan", "Chong You", "Chaobing Song", "Yi Ma"),
        2020,
        "Learning Diverse and Discriminative Representations via the Principle of Maximal Coding Rate Reduction",
        "2006.08558",
        "NeurIPS 2020",
    ),
    Paper(
        "zhou2023",
        (
            "Yefan Zhou",
            "Tianyu Pang",
            "Keqin Liu",
            "Charles H. Martin",
            "Michael W. Mahoney",
            "Yaoqing Yang",
        ),
        2023,
        "Temperature Balancing, Layer-wise Weight Analysis, and Neural Network Training",
        "2312.00359",
        "NeurIPS 2023",
    ),
)
PAPERS: dict[str, Paper] = {paper.key: paper for paper in _LIST}


def cite(key: str) -> str:
    """The paper under `key` as a short citation: authors, year, and its arXiv id or else where it appeared.

    Raises ValueError for an unknown key, the nearest known one first.

    >>> cite("kornblith2019")
    'Kornblith et al. 2019, arXiv:1905.00414'
    >>> cite("khosla2024")
    'Khosla and Williams 2024, arXiv:2311.09466'
    >>> cite("gretton2005")
    'Gretton et al. 2005, ALT 2005'
    """
    if key not in PAPERS:
        known = difflib.get_close_matches(str(key), PAPERS, n=len(PAPERS), cutoff=0.0)
        raise ValueError(f"key: expected one of {', '.join(known)}; got {key!r}")
    paper = PAPERS[key]
    surnames = [author.split()[-1] for author in paper.authors]
    who = " and ".join(surnames) if len(surnames) <= 2 else f"{surnames[0]} et al."
    where = f"arXiv:{paper.arxiv}" if paper.arxiv else paper.venue
    return f"{who} {paper.year}, {where}"
