"""Small changes of a Python file that its tests should notice, one at a time.

Left out is what no test has to see: docstrings, annotations, messages of errors and warnings, imports, ``__all__``.
"""
import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
                ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
               ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
_LOGIC = {ast.And: ast.Or, ast.Or: ast.And}
# Calls without arguments whose result has the type of what they are called on.
_METHODS = {'abs', 'clone', 'contiguous', 'cos', 'detach', 'double', 'eval', 'exp', 'float', 'log', 'mean', 'neg',
            'sigmoid', 'sin', 'sqrt', 'square', 'train'}
_UNSEEN = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arguments)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Args:
        file: The file, relative to the root of the project.
        line: Number of the first line that changes.
        function: Class and function around it, ``''`` at the top of the file.
        operator: Kind of the change.
        before: The text that is replaced.
        after: The text in its place.
        start: First byte of ``before`` in the file.
        context: The line, without its indentation, and where ``before`` starts in it.
    """

    file: str
    line: int
    function: str
    operator: str
    before: str
    after: str
    start: int
    context: str

    @property
    def key(self) -> str:
        """Names the change in a way that stays the same when other lines of the file move."""
        return f'{self.file}::{self.function}: {self.before} -> {self.after} in {self.context}'

    def applied(self, source: str) -> str:
        """Returns the source of the file with the change."""
        text = source.encode()
        return (text[:self.start] + self.after.encode() + text[self.start + len(self.before.encode()):]).decode()


def find_mutants(file: str, source: str) -> list[Mutant]:
    """Lists the changes of a file, in the order of its lines."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: dict[str, Mutant] = {}
    for function, node, operator, changed in _changes(ast.parse(source)):
        before = ast.get_source_segment(source, node)
        start = starts[node.lineno - 1] + node.col_offset
        after = _kept_together(changed if isinstance(changed, str) else ast.unparse(changed), node)
        line = source.splitlines()[node.lineno - 1]
        context = f'{line.strip()!r} at {node.col_offset - len(line) + len(line.lstrip())}'
        mutant = Mutant(file, node.lineno, function, operator, before, after, start, context)
        found.setdefault(mutant.key, mutant)
    return [*found.values()]


def statement_lines(source: str, line: int) -> range:
    """Returns the lines of the innermost statement around a line, of one with a body those before it."""
    around = [node for node in ast.walk(ast.parse(source))
              if isinstance(node, ast.stmt) and node.lineno <= line <= node.end_lineno]
    inner = max(around, key=lambda node: (node.lineno, node.col_offset))
    body = getattr(inner, 'body', None)
    return range(inner.lineno, max(inner.lineno, body[0].lineno - 1 if body else inner.end_lineno) + 1)


def _kept_together(text: str, node: ast.AST) -> str:
    return f'({text})' if isinstance(node, (ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.UnaryOp)) else text


def compiles(source: str) -> bool:
    """Tells whether a change has left valid Python, which takes long to find out."""
    try:
        compile(source, '', 'exec')
    except SyntaxError:
        return False
    return True


def _changes(node: ast.AST, function: str = '') -> Iterator[tuple[str, ast.AST, str, ast.AST | str]]:
    for child in _seen(node):
        inside = f'{function}.{child.name}'.lstrip('.') if isinstance(
            child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else function
        for operator, place, changed in _changes_of(child):
            yield inside, place, operator, changed
        yield from _changes(child, inside)


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    hidden = {id(part) for name in ('annotation', 'returns', 'decorator_list')
              for part in _listed(getattr(node, name, None))}
    for child in ast.iter_child_nodes(node):
        docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        exported = isinstance(child, ast.Assign) and getattr(child.targets[0], 'id', '') == '__all__'
        if not (id(child) in hidden or docstring or exported or isinstance(child, _UNSEEN) or _is_message(child)):
            yield child


def _listed(part: ast.AST | list | None) -> list:
    return part if isinstance(part, list) else [part]


def _is_message(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else node
    name = getattr(call.func, 'attr', getattr(call.func, 'id', '')) if isinstance(call, ast.Call) else ''
    return name in ('debug', 'info', 'warning', 'warn', 'print_log')


def _changes_of(node: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST | str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        yield 'comparison', node, _with(node, ops=[_COMPARISONS[type(node.ops[0])]()])
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield 'arithmetic', node, _with(node, op=_ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield 'logic', node, _with(node, op=_LOGIC[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield 'sign', node, node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield 'constant', node, ast.Constant(value)
    elif isinstance(node, ast.IfExp):
        yield 'branch', node, _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, (ast.If, ast.While)):
        yield 'condition', node.test, f'not ({ast.unparse(node.test)})'
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not (node.args or node.keywords):
        if node.func.attr in _METHODS:
            yield 'method', node, node.func.value
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield 'statement', node, 'pass'
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield 'result', node, 'return None'


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
