"""Holds units to the arithmetic that plain Python and compiled code do alike, to the last bit.

Usage: tools/arithmetic_lint.py [FILE...]      (default: the modules of core to engine)

Looked at: `update`, `decide` and `leave` of every NamedTuple, the methods and functions of perps_kit that they call, and all of core.arith.
A division, logarithm, root, exponential or index needs a reason to be safe. The lint understands constants, parameters, max(x, 1e-9), and
an `if` that tests the same values, before or around; a helper may trust the row numbers (`i: int`) that it is given. Where the lint cannot
see the reason, state it in a comment on the line:

    a / b               # nonzero: the band is never flat once warm
    sqrt(v)             # nonnegative: a sum of squares
    log(x)              # positive: prices are
    exp(x)              # bounded: x is a clipped score
    ring[i]             # within: i counts modulo the ring's length
"""
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("core", "data", "indicators", "strategies", "scoring", "risk", "trackers", "engine")
ENTRIES = ("update", "decide", "leave")
REDUCTIONS = {
    "sum", "nansum", "fsum", "sumprod", "mean", "nanmean", "average", "median", "nanmedian", "std", "nanstd", "var", "nanvar",
    "prod", "nanprod", "dot", "vdot", "inner", "matmul", "cumsum", "cumprod", "trapezoid", "convolve", "correlate", "corrcoef", "cov",
    "percentile", "quantile", "nanpercentile", "nanquantile",
}
METHODS = {"sum", "mean", "std", "var", "prod", "dot", "cumsum", "cumprod"}
NUMERIC = {"math", "np", "numpy"}
REASONS = {"division": "nonzero|positive", "log": "positive", "sqrt": "nonnegative|positive", "exp": "bounded", "index": "within"}
Function = ast.FunctionDef


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass
class Module:
    "One file: its functions and classes by name, and where imported names come from."
    path: Path
    tree: ast.Module
    lines: list[str]
    functions: dict[str, Function] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)     # name here -> (module, name there)
    constants: dict[str, float | None] = field(default_factory=dict)      # name -> value, None where it is a number not worked out here

    @classmethod
    def read(cls, path: Path, name: str) -> "Module":
        text = path.read_text(encoding="utf-8")
        module = cls(path, ast.parse(text, str(path)), text.splitlines())
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef): module.functions[node.name] = node
            if isinstance(node, ast.ClassDef): module.classes[node.name] = node
            if isinstance(node, ast.Assign): module.constants.update(constants(node))
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                module.constants[node.target.id] = number(node.value)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ImportFrom): continue
            package = name.split(".")[:-node.level] if node.level else []
            source = ".".join([*package, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                module.imports[alias.asname or alias.name] = source, alias.name
                if alias.name.isupper(): module.constants[alias.asname or alias.name] = None
        return module


def is_named_tuple(node: ast.ClassDef) -> bool:
    return any(getattr(base, "id", getattr(base, "attr", "")) == "NamedTuple" for base in node.bases)


def methods(node: ast.ClassDef) -> dict[str, Function]:
    return {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}


def called(node: ast.Call) -> tuple[str, str]:
    "('', 'f') for f(...), ('self', 'f') for self.f(...), ('np', 'sum') for np.sum(...), ('?', 'sum') for anything_else.sum(...)."
    function = node.func
    if isinstance(function, ast.Name): return "", function.id
    if isinstance(function, ast.Attribute): return (function.value.id if isinstance(function.value, ast.Name) else "?"), function.attr
    return "?", ""


def number(node: ast.AST) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool): return node.value
    return None


def constants(node: ast.Assign) -> dict[str, float | None]:
    "The constants that a line of a module names: SIZE = 3, or UP, DOWN = 1, 2, or UP, DOWN = range(2)."
    found: dict[str, float | None] = {}
    for target in node.targets:
        if isinstance(target, ast.Name): found[target.id] = number(node.value)
        if isinstance(target, ast.Tuple):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [None] * len(target.elts)
            for name, value in zip(target.elts, values, strict=False):
                if isinstance(name, ast.Name): found[name.id] = number(value) if value else None
    return {name: value for name, value in found.items() if name.isupper()}


def atoms(node: ast.AST) -> set[str]:
    "The values that an expression is made of, as text: names, and attributes such as self.high; what stands in isnan(...) does not count."
    if isinstance(node, ast.Call):
        inner = [] if called(node)[1] in ("isnan", "isfinite", "isinf") else [*node.args, *(k.value for k in node.keywords)]
        return set().union(*map(atoms, inner)) if inner else set()
    if isinstance(node, ast.Name | ast.Attribute): return {ast.unparse(node)}
    return set().union(*map(atoms, ast.iter_child_nodes(node)))


def counts(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Call) and called(node)[1] in ("range", "enumerate")


def leaves(block: list[ast.stmt]) -> bool:
    return bool(block) and isinstance(block[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def spans(owner: ast.ClassDef | None) -> dict[str, float | None]:
    "Parameters of a unit: field name -> lowest allowed value, None where it is not declared."
    if owner is None: return {}
    fields = [(item.target.id, item) for item in owner.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    of = methods(owner).get("of")
    is_strategy = of is None and "decide" in methods(owner)
    lowest: dict[str, float | None] = {name: None for name, item in fields if item.value is None or is_strategy}
    declared = [(arg.arg, arg.annotation) for arg in of.args.args + of.args.kwonlyargs] if of else []
    for name, annotation in declared + [(name, item.annotation) for name, item in fields]:
        for node in ast.walk(annotation) if annotation else ():
            if isinstance(node, ast.Call) and called(node)[1] == "Span" and node.args: lowest[name] = number(node.args[0])
    return lowest


class Walk:
    "One function, statement by statement, with the conditions that hold at each expression."

    def __init__(self, module: Module, owner: ast.ClassDef | None, function: Function) -> None:
        self.module, self.owner, self.function = module, owner, function
        self.parameters = spans(owner)
        self.findings: list[Finding] = []
        self.calls: list[tuple[str, str]] = []
        self.values: dict[str, list[ast.expr | None]] = {}      # local name -> what it is bound to, None where that is not seen
        self.rows: set[str] = set()                             # arguments of a helper that it may trust to be row numbers
        for arg in [*function.args.args, *function.args.kwonlyargs]:
            self.values[arg.arg] = [None]
            if owner is None and arg.annotation and ast.unparse(arg.annotation) == "int": self.rows.add(arg.arg)
        for node in ast.walk(function): self.bind(node)
        self.block(function.body, frozenset())

    def bind(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple):
                    seen = isinstance(node.value, ast.Tuple) and len(node.value.elts) == len(target.elts)
                    pairs = list(zip(target.elts, node.value.elts if seen else [None] * len(target.elts), strict=True))
                for name, value in pairs:
                    if isinstance(name, ast.Name): self.values.setdefault(name.id, []).append(value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr | ast.AugAssign) and isinstance(node.target, ast.Name):
            self.values.setdefault(node.target.id, []).append(None if isinstance(node, ast.AugAssign) else node.value)
        elif isinstance(node, ast.For):
            for name in ast.walk(node.target):
                if isinstance(name, ast.Name): self.values.setdefault(name.id, []).append(node.iter if counts(node.iter) else None)

    def block(self, body: list[ast.stmt], known: frozenset[str]) -> None:
        for statement in body:
            self.statement(statement, known)
            if isinstance(statement, ast.If) and leaves(statement.body): known = known | atoms(statement.test)

    def statement(self, node: ast.stmt, known: frozenset[str]) -> None:
        if isinstance(node, ast.If | ast.While):
            self.expression(node.test, known)
            inside = known | atoms(node.test)
            self.block(node.body, inside)
            self.block(node.orelse, inside)
        elif isinstance(node, ast.For):
            self.expression(node.iter, known)
            self.block(node.body, known)
            self.block(node.orelse, known)
        elif isinstance(node, ast.AnnAssign):
            if node.value: self.expression(node.value, known)
            self.expression(node.target, known)
        elif isinstance(node, ast.AugAssign):
            self.expression(node.target, known)
            self.expression(ast.copy_location(ast.BinOp(node.target, node.op, node.value), node), known)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            self.say(node, "a definition inside does not compile: define it in the module")
        else:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.expr): self.expression(child, known)
                elif isinstance(child, ast.stmt): self.statement(child, known)

    def expression(self, node: ast.expr, known: frozenset[str]) -> None:
        if isinstance(node, ast.IfExp):
            self.expression(node.test, known)
            inside = known | atoms(node.test)
            self.expression(node.body, inside)
            self.expression(node.orelse, inside)
            return
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.expression(value, known)
                known = known | atoms(value)
            return
        self.look(node, known)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr): self.expression(child, known)
            elif isinstance(child, ast.keyword): self.expression(child.value, known)
            elif isinstance(child, ast.comprehension):
                for part in [child.iter, *child.ifs]: self.expression(part, known)

    def look(self, node: ast.expr, known: frozenset[str]) -> None:
        if isinstance(node, ast.JoinedStr): self.say(node, "an f-string does not compile: return numbers, make the text where it is shown")
        elif isinstance(node, ast.GeneratorExp): self.say(node, "a generator expression does not compile: write a loop")
        elif isinstance(node, ast.BinOp): self.operator(node, known)
        elif isinstance(node, ast.Call): self.call(node, known)
        elif isinstance(node, ast.Subscript): self.index(node, known)

    def operator(self, node: ast.BinOp, known: frozenset[str]) -> None:
        if isinstance(node.op, ast.Pow): self.say(node, "`**` differs in the last bit once compiled: write x * x, or sqrt")
        elif isinstance(node.op, ast.MatMult): self.say(node, "`@` adds in another order once compiled: write a loop")
        elif isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod) and not (self.nonzero(node.right) or self.tested(node.right, known)):
            low = self.parameters.get(node.right.attr) if isinstance(node.right, ast.Attribute) else None
            why = f" (its Span begins at {low:g})" if low is not None else ""
            remedy = "use ratio(a, b), test it before, or add `# nonzero: reason`"
            self.say(node, f"division by `{ast.unparse(node.right)}`, which may be zero{why}: {remedy}", "division")

    def call(self, node: ast.Call, known: frozenset[str]) -> None:
        where, name = called(node)
        self.calls.append((where, name))
        source = self.module.imports.get(name, ("", ""))[0] if where == "" else where
        if name == "_replace": self.say(node, "`_replace` does not compile: build the next value with its constructor")
        elif where == "" and name == "round" and len(node.args) + len(node.keywords) > 1:
            self.say(node, "round(x, n) differs once compiled: use tenth(x), or floor_to and ceil_to for prices")
        elif (where == "" and name == "pow") or (where in NUMERIC and name in ("pow", "power", "float_power")):
            self.say(node, f"`{name}` differs in the last bit once compiled: write x * x, or sqrt")
        elif (where == "" and name == "sum") or (source in NUMERIC and name in REDUCTIONS):
            self.say(node, f"`{name}` adds in another order once compiled: write a loop")
        elif where not in NUMERIC and where != "" and name in METHODS:
            self.say(node, f"`.{name}()` adds in another order once compiled: write a loop")
        elif source in NUMERIC and node.args: self.domain(node, name, node.args[0], known)

    def domain(self, node: ast.Call, name: str, x: ast.expr, known: frozenset[str]) -> None:
        shown = ast.unparse(x)
        if name in ("log", "log2", "log10", "log1p") and not (self.positive(x) or self.tested(x, known)):
            self.say(node, f"{name} of `{shown}`, which may not be positive: test it before, or add `# positive: reason`", "log")
        elif name == "sqrt" and not (self.nonnegative(x) or self.tested(x, known)):
            self.say(node, f"sqrt of `{shown}`, which may be negative: use max(x, 0.0), test it, or add `# nonnegative: reason`", "sqrt")
        elif name in ("exp", "expm1", "exp2") and not (self.bounded(x) or self.tested(x, known)):
            self.say(node, f"{name} of `{shown}`, which may overflow: use min(x, limit), test it before, or add `# bounded: reason`", "exp")

    def index(self, node: ast.Subscript, known: frozenset[str]) -> None:
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for part in parts:
            if self.inside(part) or (atoms(part) and atoms(part) <= known): continue
            remedy = "take it modulo the length, test it before, or add `# within: reason`"
            self.say(node, f"index `{ast.unparse(part)}` may be outside: {remedy}", "index")

    def tested(self, node: ast.expr, known: frozenset[str]) -> bool:
        "Whether a condition before or around looked at the values that the expression is made of."
        found = atoms(node)
        if bool(found) and found <= known: return True
        values = self.seen(node.id) if isinstance(node, ast.Name) else []
        return any(value is not None and atoms(value) and atoms(value) <= known for value in values)

    def seen(self, name: str) -> list[ast.expr | None]:
        return self.values.get(name, [None])

    def constant(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self.module.constants and node.id not in self.values

    def every(self, node: ast.AST, holds) -> bool:
        "Whether a local name has the property by each of its assignments; a loop counter has none."
        if not isinstance(node, ast.Name): return False
        values = self.seen(node.id)
        loop = any(map(counts, values))
        recursive = any(value is not None and node.id in atoms(value) for value in values)
        return not loop and not recursive and all(value is not None and holds(value) for value in values)

    def parameter(self, node: ast.AST) -> bool:
        "Whether the node is a parameter of the unit that is never zero or below, as far as it declares."
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"): return False
        if node.attr not in self.parameters: return False
        low = self.parameters[node.attr]
        return low is None or low > 0

    def positive(self, node: ast.AST) -> bool:
        value = number(node)
        if value is not None: return value > 0
        if self.parameter(node) or self.every(node, self.positive): return True
        if self.constant(node): return self.known_positive(node)
        if isinstance(node, ast.Call):
            name = called(node)[1]
            if name == "max": return any(map(self.positive, node.args))
            if name == "min": return bool(node.args) and all(map(self.positive, node.args))
            if name in ("float", "sqrt", "abs"): return any(map(self.positive, node.args))
            return name == "exp"
        if isinstance(node, ast.BinOp):
            a, b = node.left, node.right
            if isinstance(node.op, ast.Add): return (self.positive(a) and self.nonnegative(b)) or (self.positive(b) and self.nonnegative(a))
            return isinstance(node.op, ast.Mult | ast.Div) and self.positive(node.left) and self.positive(node.right)
        return isinstance(node, ast.IfExp) and self.positive(node.body) and self.positive(node.orelse)

    def known_positive(self, node: ast.AST) -> bool:
        value = self.module.constants[node.id] if isinstance(node, ast.Name) else None
        return value is None or value > 0

    def nonnegative(self, node: ast.AST) -> bool:
        value = number(node)
        if value is not None: return value >= 0
        if self.positive(node) or self.every(node, self.nonnegative): return True
        if isinstance(node, ast.Call):
            name = called(node)[1]
            if name == "max": return any(map(self.nonnegative, node.args))
            return name in ("abs", "len", "fabs", "sqrt")
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.Mult) and ast.dump(node.left) == ast.dump(node.right): return True
            return isinstance(node.op, ast.Add | ast.Mult | ast.Div) and self.nonnegative(node.left) and self.nonnegative(node.right)
        return False

    def nonzero(self, node: ast.AST) -> bool:
        value = number(node)
        if value is not None: return value != 0
        if self.positive(node) or self.every(node, self.nonzero): return True
        if isinstance(node, ast.UnaryOp): return self.nonzero(node.operand)
        if isinstance(node, ast.Call) and called(node)[1] in ("abs", "float"): return any(map(self.nonzero, node.args))
        if isinstance(node, ast.Call) and called(node)[1] == "len": return True
        return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and self.nonzero(node.left) and self.nonzero(node.right)

    def bounded(self, node: ast.AST) -> bool:
        if number(node) is not None: return True
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub): return self.nonnegative(node.operand)
        if self.every(node, self.bounded): return True
        if not isinstance(node, ast.Call): return False
        return called(node)[1] == "clip" or (called(node)[1] == "min" and any(number(arg) is not None for arg in node.args))

    def inside(self, node: ast.AST) -> bool:
        "Whether an index stays within by its form: a constant, a slice, a counter of range, a remainder."
        if isinstance(node, ast.Slice | ast.Constant) or number(node) is not None: return True
        if isinstance(node, ast.BinOp): return isinstance(node.op, ast.Mod)
        if not isinstance(node, ast.Name): return False
        if self.constant(node) or (node.id in self.rows and self.seen(node.id) == [None]): return True
        values = self.seen(node.id)
        return all(value is not None and (counts(value) or (not isinstance(value, ast.Name) and self.inside(value))) for value in values)

    def say(self, node: ast.expr | ast.stmt, text: str, rule: str = "") -> None:
        first, last = node.lineno, node.end_lineno or node.lineno
        if rule and any(re.search(rf"#\s*({REASONS[rule]}): *\S", line) for line in self.module.lines[first - 1:last]): return
        path = self.module.path
        self.findings.append(Finding(str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path), node.lineno, text))


def fastmath(module: Module) -> Iterator[Finding]:
    path = str(module.path.relative_to(ROOT) if module.path.is_relative_to(ROOT) else module.path)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and node.arg == "fastmath" and ast.unparse(node.value) != "False":
            yield Finding(path, node.value.lineno, "fastmath changes results: compile without it")


def lint(paths: dict[str, Path]) -> list[Finding]:
    "Findings in the given modules (dotted name -> file), each once, in order."
    modules = {name: Module.read(path, name) for name, path in paths.items()}
    waiting: list[tuple[str, str, str]] = []                 # module, class or '', function
    findings: set[Finding] = set()
    for name, module in modules.items():
        findings.update(fastmath(module))
        if name.endswith("core.arith"): waiting += [(name, "", function) for function in module.functions]
        waiting += [(name, c.name, entry) for c in module.classes.values() if is_named_tuple(c) for entry in ENTRIES if entry in methods(c)]
    done: set[tuple[str, str, str]] = set()
    while waiting:
        where = waiting.pop()
        if where in done: continue
        done.add(where)
        name, owner, function = where
        module = modules[name]
        node = methods(module.classes[owner])[function] if owner else module.functions[function]
        walk = Walk(module, module.classes.get(owner), node)
        findings.update(walk.findings)
        for receiver, target in walk.calls:
            if receiver == "self" and owner and target in methods(module.classes[owner]): waiting.append((name, owner, target))
            if receiver != "": continue
            if target in module.functions: waiting.append((name, "", target))
            source, there = module.imports.get(target, ("", ""))
            if source in modules and there in modules[source].functions: waiting.append((source, "", there))
    return sorted(findings)


def default_paths() -> dict[str, Path]:
    files = [path for room in ROOMS for path in sorted((ROOT / "perps_kit" / room).glob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files if path.name != "__init__.py"}


def main(names: list[str]) -> int:
    paths = {Path(name).stem: Path(name) for name in names} if names else default_paths()
    findings = lint(paths)
    for finding in findings: print(finding)
    print(f"{len(findings)} findings in {len(paths)} modules")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
